"""HTTP server with OpenAI's API: routes, limits, and the engines behind them."""
