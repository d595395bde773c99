"""The face of Ollama's API: what its clients need to list, look at and chat with models."""
