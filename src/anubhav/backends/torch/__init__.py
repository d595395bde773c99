"""The torch backend: one frozen base in memory, many LoRA adapters on it, trained and sampled by one owner thread."""
