"""Rendering: messages to tokens and tokens to text, the same to the byte as the model's own tokenizer and template."""
