"""The cluster: where the ports of `ports.py` run somewhere else than in this process, and the planner.

What is placed here is a place, not another kind of engine: the same trainer and sampler, behind the same two ports, on
other ranks and hosts. The planner says beforehand what of a model lies on which rank, what it costs, and what fits.
"""
