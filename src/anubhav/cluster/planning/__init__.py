"""The planner: what a model takes on so many GPUs, before there are any.

`census` is what a model consists of, `instantiate` takes it from the real architecture. Everything between is
arithmetic on it (`memory`, `traffic`, `timing`, `search`); at the end `instantiate` shards the chosen layout for real,
on the meta device over a fake process group, and the plan shows both figures.
"""
