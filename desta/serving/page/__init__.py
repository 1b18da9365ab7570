"""The page of the server: a client of its API in the browser (Gradio), at `/ui`."""
