"""Whoever fills the ports must pass these tests; each filler stands here once."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fillers import CONTEXT, VOCAB, Filler, write_tokenizer
from three_nodes import three_nodes
from tiny_llama import write_llama
from tiny_phi3 import write_phi3

from anubhav.backends.fake.reading import FakeReader
from anubhav.backends.fake.sampler import FakeSampler
from anubhav.backends.fake.trainer import FakeTrainer
from anubhav.backends.torch.engine import TorchEngine
from anubhav.ports import Reader, Sampler, Trainer

if TYPE_CHECKING:
    from anubhav.cluster.remote.engine import RemoteEngine


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract-llama")
    write_llama(folder, vocab=VOCAB, context=CONTEXT, width=36, loud=0.2)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def foreign_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract-phi3")
    write_phi3(folder, vocab=VOCAB, context=CONTEXT)
    write_tokenizer(folder)
    return folder


@pytest.fixture(params=["fake", "torch", "transformers", "ray"])
def filler(request: pytest.FixtureRequest, tiny_model: Path, foreign_model: Path) -> Iterator[Filler]:
    if request.param == "ray":
        yield request.getfixturevalue("far_away")
    elif request.param == "fake":
        sampler = FakeSampler(VOCAB, CONTEXT, folder=tiny_model)
        yield Filler(FakeTrainer(VOCAB), sampler, lambda: sampler.running > 0, FakeReader(VOCAB))
    else:
        with closing(TorchEngine(foreign_model if request.param == "transformers" else tiny_model)) as engine:
            yield Filler(engine.trainer, engine.sampler, lambda: engine.sampling.busy, engine.reader)


@pytest.fixture
def trainer(filler: Filler) -> Trainer:
    return filler.trainer


@pytest.fixture
def sampler(filler: Filler) -> Sampler:
    return filler.sampler


@pytest.fixture
def reader(filler: Filler) -> Reader:
    return filler.reader


_far: list[Filler] = []
_cluster = ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """The cluster ends with the last test of this folder, or it would slow down all that follow."""
    if nextitem is None or Path(__file__).parent not in nextitem.path.parents:
        _far.clear()
        _cluster.close()


@pytest.fixture
def far_away(tiny_model: Path) -> Filler:
    """The torch engine on hosts of three nodes: a trainer and two samplers, the same ones for every test."""
    if not _far:
        processors = _cluster.enter_context(three_nodes())
        from anubhav.cluster.remote.engine import RemoteEngine, Wanted

        engine = _cluster.enter_context(closing(RemoteEngine(tiny_model, None, Wanted(2, processors))))
        asyncio.run(engine.open())
        _far.append(Filler(engine.trainer, engine.sampler, lambda: _busy(engine), engine.reader))
    return _far[0]


def _busy(engine: "RemoteEngine") -> bool:
    with ThreadPoolExecutor(1) as elsewhere:  # the test's own loop runs
        return any(row["streams"] for row in elsewhere.submit(asyncio.run, engine.look()).result())
