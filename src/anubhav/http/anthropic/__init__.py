"""The face of Anthropic's Messages API."""
