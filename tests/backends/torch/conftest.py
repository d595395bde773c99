"""An engine over a tiny random Llama."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_llama import write_llama

from anubhav.backends.torch.engine import TorchEngine


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-llama")
    write_llama(folder, vocab=300, context=256)
    return folder


@pytest.fixture
def engine(tiny_llama: Path) -> Iterator[TorchEngine]:
    engine = TorchEngine(tiny_llama)
    yield engine
    engine.close()
