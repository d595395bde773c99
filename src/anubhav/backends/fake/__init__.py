"""A test double that really learns: a log-linear table in plain Python behind the same ports as a real model."""
