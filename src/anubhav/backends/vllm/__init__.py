"""The Sampler port over a vLLM server in an environment of its own, where alone vLLM is imported (`inside.py`)."""
