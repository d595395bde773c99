"""The episodes room: what was said, token for token, and what people thought of it."""
