"""What tests of the Tinker SDK share: a lesson, the server's flags, and patience."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tinker
from tinker import types

from anubhav.http.tinker import service as face

MODEL, KEY = "tiny", "tml-sampling-test"
TOKENS = [7, 8, 9, 10, 11, 12, 13, 14]
PROMPT = types.ModelInput.from_ints(TOKENS)
ONE = types.SamplingParams(max_tokens=1)
LESSON = types.Datum(
    model_input=types.ModelInput.from_ints([7, 8, 9]),
    loss_fn_inputs={"target_tokens": [8, 9, 10], "weights": [1.0, 1.0, 1.0]},
)


def teach(trainer: tinker.TrainingClient, steps: int = 20) -> None:
    for _ in range(steps):
        trainer.forward_backward([LESSON], "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.3)).result()


@contextmanager
def flags(**changed: bool) -> Iterator[None]:
    """What the server tells clients that begin now."""
    before = dict(face.CLIENT_CONFIG)
    face.CLIENT_CONFIG.update(changed)
    try:
        yield
    finally:
        face.CLIENT_CONFIG.clear()
        face.CLIENT_CONFIG.update(before)


def wait_until(done: Callable[[], Any], complaint: str) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.02)
