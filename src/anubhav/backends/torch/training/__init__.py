"""Passes, losses and optimizers."""
