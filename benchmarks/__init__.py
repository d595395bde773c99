"""What is claimed of speed and of learning, measured: one module for each claim, run with `python -m`."""
