"""Text generation by endpoints with OpenAI's chat completions API."""
