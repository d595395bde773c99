"""The Anubhav face: feedback, laps, releases, probes and keys."""
