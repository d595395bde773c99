"""The contract of test_objectives.py once more, over ranks that split weights and sequences: the very same tests."""

from test_objectives import *  # noqa: F403

from anubhav.cluster.layout import Layout

LAYOUT = Layout(fsdp=2, sp=2)
