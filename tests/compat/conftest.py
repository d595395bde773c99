from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_model import write_model
from loopback import Loopback, hosted
from tiny_llama import write_talking_llama


@pytest.fixture(scope="session")
def tinker_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("loopback")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Loopback, Path]]:
    """The house over the torch backend, and the folder of its model."""
    folder = tmp_path_factory.mktemp("llama")
    write_talking_llama(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback, folder / "tiny"
