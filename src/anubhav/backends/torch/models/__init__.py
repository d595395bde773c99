"""The decoders: our own families of models, and transformers' for the rest. A batch is packed into a trie for them."""
