"""The OpenAI face: chat completions and models, for any client of that API."""
