"""The Anubhav face: feedback, laps, releases, probes, keys and the status page."""
