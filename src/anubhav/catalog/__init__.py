"""The catalogue: a model's name → its source → a checked folder on this machine. No weights are loaded here."""
