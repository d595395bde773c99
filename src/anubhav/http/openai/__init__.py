"""The OpenAI face: chat completions, completions and models, for any client of that API."""
