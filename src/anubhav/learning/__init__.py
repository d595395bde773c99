"""The learning room: pure functions from experience to data and weights. No I/O, no tensors."""
