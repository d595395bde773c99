"""Whatever data share, whatever an adapter trains: packed together they pull as each of them alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anubhav.backends.torch.models.model import Model
from anubhav.backends.torch.training.trainer import Training
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, Pass, PassResult

RUN = AdapterId("run")
CPU = torch.device("cpu")
NUMBERS = st.sampled_from([0.0, 1.0, -0.5, 2.0, 0.25])
# Few tokens, so that sequences often begin alike, repeat and contain one another.
TOKENS = st.lists(st.integers(0, 2), min_size=2, max_size=12)


@st.composite
def specs(draw: st.DrawFn) -> LoraSpec:
    flags = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any))
    attn, mlp, unembed = flags
    return LoraSpec(draw(st.integers(1, 9)), draw(st.integers(0, 3)), attn, mlp, unembed)


@st.composite
def data(draw: st.DrawFn) -> Datum:
    tokens = draw(TOKENS)
    count = len(tokens) - 1

    def column(numbers: st.SearchStrategy[float]) -> list[float]:
        return draw(st.lists(numbers, min_size=count, max_size=count))

    marks = column(st.sampled_from([0.0, 1.0]))
    marks[0] = 1.0  # a mask of zeros is refused
    return Datum(
        tuple(tokens[:-1]),
        {
            "target_tokens": ints(tokens[1:]),
            "weights": floats(column(NUMBERS)),
            "advantages": floats(column(NUMBERS)),
            "logprobs": floats(column(st.sampled_from([-6.0, -5.7, -5.0]))),
            "sequence_ratio_mask": floats(marks),
        },
    )


def learn(
    model: Model, spec: LoraSpec, works: Sequence[Pass], budget: int
) -> tuple[list[PassResult], list[torch.Tensor]]:
    training = Training(model, budget=budget)
    training.create(RUN, spec)
    torch.manual_seed(3)
    for pair in training.pupil(RUN).adapter.pairs.values():
        with torch.no_grad():  # B ≠ 0, so that both factors have a gradient
            pair.b_OR.add_(torch.randn_like(pair.b_OR) * 0.05 * (1 if pair.blocks_OR is None else pair.blocks_OR))
    results: list[PassResult] = []
    for work in works:
        steps = training.run(work)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                results.append(done.value)
                break
    assert all(result.failure is None for result in results)
    return results, training.pupil(RUN).gradient.tensors


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Model:
    return Model(tiny_llama, device=CPU, dtype=torch.float32)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spec=specs(),
    batch=st.lists(data(), min_size=1, max_size=7),
    budget=st.integers(1, 60),
    loss=st.sampled_from(["cross_entropy", "importance_sampling", "ppo", "gspo"]),
)
def test_packed_gradients_are_those_of_each_datum_alone(
    model: Model, spec: LoraSpec, batch: list[Datum], budget: int, loss: str
) -> None:
    whole = Pass(RUN, tuple(batch), loss)
    (packed,), ours = learn(model, spec, [whole], budget)
    alone, theirs = learn(model, spec, [replace(whole, data=(datum,)) for datum in batch], 1 << 20)
    for number, one in enumerate(alone):
        assert packed.logprobs[number].tolist() == pytest.approx(one.logprobs[0].tolist(), abs=2e-5)
    off = sum(float((a - b).double().square().sum()) for a, b in zip(ours, theirs, strict=True))
    size = sum(float(b.double().square().sum()) for b in theirs)
    assert off**0.5 <= 1e-4 * size**0.5 + 1e-7
