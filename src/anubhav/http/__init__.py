"""The faces: translation between wires and the words of `types`, and nothing else."""
