"""Breaks within a pass: often enough, and without a trace in what it computes."""

from pathlib import Path

import pytest
import torch

from anubhav.backends.torch.layers.lora import Segment
from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.models.packing import pack
from anubhav.backends.torch.training.trainer import Training
from anubhav.types.arrays import floats, ints
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, Pass, PassResult

RUN = AdapterId("run")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Model:
    return Model(tiny_llama, device=CPU, dtype=torch.float32)


def work(*, backward: bool = True) -> Pass:
    tokens = [*range(50, 80)]
    arrays = {"target_tokens": ints(tokens[1:]), "weights": floats([1.0] * 29)}
    return Pass(RUN, (Datum(tuple(tokens[:-1]), arrays),), "cross_entropy", backward=backward)


def finish(training: Training, one: Pass) -> PassResult:
    steps = training.run(one)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def test_decoding_within_a_pass_changes_nothing(model: Model) -> None:
    other = Training(model)
    other.create(RUN, LoraSpec(rank=3, seed=9))
    (prompt,) = pack([(1, 2, 3)], 512, CPU)
    heard: list[torch.Tensor] = []

    def decode() -> None:
        assert not torch.is_grad_enabled()
        hidden = prompt.hidden(model, [Segment(other.pupil(RUN).adapter)])
        assert not hidden.requires_grad
        heard.append(hidden)

    found = []
    for pause in (None, decode):
        training = Training(model, pause=pause)
        training.create(RUN, LoraSpec(rank=4, seed=1))
        result = finish(training, work())
        assert result.failure is None
        assert torch.is_grad_enabled()
        found.append((result.logprobs[0].tolist(), training.pupil(RUN).gradient.tensors))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))
    layers = model.config.layers
    # Before each half of a layer, before the one chunk of the head, and on the way back before all halves but one.
    assert len(heard) == 2 * layers + 1 + 2 * layers - 1
    assert all(torch.equal(heard[0], one) for one in heard)


def test_a_pass_without_gradients_pauses_too(model: Model) -> None:
    calls: list[None] = []
    training = Training(model, pause=lambda: calls.append(None))
    training.create(RUN, LoraSpec(rank=4, seed=1))
    finish(training, work(backward=False))
    assert len(calls) == 2 * model.config.layers + 1


def test_distilling_pauses_too(model: Model) -> None:
    calls: list[None] = []
    training = Training(model, pause=lambda: calls.append(None))
    training.create(RUN, LoraSpec(rank=4, seed=1))
    one = Continuation((1, 2, 3, 4), (9, 2, 3, 4), (3, 4, 5), (1.0, 1.0, 1.0))
    for _ in training.distil(RUN, Distillation((one,)), None):
        pass
    assert len(calls) == 6 * model.config.layers


def test_what_a_pause_raises_ends_the_pass_and_leaves_no_gradient(model: Model) -> None:
    calls: list[None] = []

    def fail() -> None:
        calls.append(None)
        if len(calls) == 2 * model.config.layers + 2:  # on the way back
            raise RuntimeError("no more")

    training = Training(model, pause=fail)
    training.create(RUN, LoraSpec(rank=4, seed=1))
    assert finish(training, work()).failure is not None
    assert not training.pupil(RUN).gradient.tensors
