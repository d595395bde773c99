"""Anubhav: a language model that learns from being used. Train, serve and learn as one system; see ARCHITECTURE.md."""

__version__ = "0.1.0"
