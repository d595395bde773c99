"""Adapters and weights as files: PEFT's folders, merged models, GGUF."""
