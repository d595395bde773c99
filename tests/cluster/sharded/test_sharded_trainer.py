"""The contract of test_trainer.py once more, over two tensor ranks: the very same tests."""

from test_trainer import *  # noqa: F403

from anubhav.cluster.layout import Layout

LAYOUT = Layout(tp=2)
