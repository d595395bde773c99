"""Speech: what a model writes besides plain text, its thoughts and its calls of tools, as each family marks them."""
