"""The torch backend: one frozen base in memory, many LoRA adapters on it, trained and sampled by one owner thread."""

import warnings

# Torch says this once in every process without numpy, which nothing here needs.
warnings.filterwarnings("ignore", "Failed to initialize NumPy")
