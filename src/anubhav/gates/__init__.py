"""The gates room: sealed probes, paired statistics, a verdict with its evidence. It never promotes."""
