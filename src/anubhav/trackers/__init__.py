"""Trackers: where the metrics of runs and laps go besides the journal: a file always, others by adapter."""
