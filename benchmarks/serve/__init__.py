"""Serving measured: what the house adds to what its engine does."""
