"""Whoever fills the ports must pass these tests; each filler stands here once."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fillers import CONTEXT, VOCAB, Filler
from tiny_llama import write_llama

from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.backends.torch.engine import TorchEngine
from anubhav.ports import Sampler, Trainer


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract-llama")
    write_llama(folder, vocab=VOCAB, context=CONTEXT, width=36, loud=0.2)
    return folder


@pytest.fixture(params=["fake", "torch"])
def filler(request: pytest.FixtureRequest, tiny_model: Path) -> Iterator[Filler]:
    if request.param == "fake":
        sampler = FakeSampler(VOCAB, CONTEXT)
        yield Filler(FakeTrainer(VOCAB), sampler, lambda: sampler.running > 0)
    else:
        with closing(TorchEngine(tiny_model)) as engine:
            yield Filler(engine.trainer, engine.sampler, lambda: engine.sampling.busy)


@pytest.fixture
def trainer(filler: Filler) -> Trainer:
    return filler.trainer


@pytest.fixture
def sampler(filler: Filler) -> Sampler:
    return filler.sampler
