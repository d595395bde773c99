"""The Tinker face: what the unmodified `tinker` SDK speaks, translated to `types` and back."""
