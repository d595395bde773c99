"""Flows: the only floor where rooms meet; each reads like its own summary."""
