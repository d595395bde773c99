"""The contract of test_distillation.py once more, over two pipeline stages: the very same tests."""

from test_distillation import *  # noqa: F403

from anubhav.cluster.layout import Layout

LAYOUT = Layout(pp=2)
