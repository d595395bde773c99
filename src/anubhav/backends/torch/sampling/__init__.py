"""Continuous batching over a paged cache."""
