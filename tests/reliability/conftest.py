"""Servers for fault injection, over both engines, and what every test of them checks at its end."""

from collections.abc import Iterator

import pytest
import tinker
from fake_model import write_model
from loopback import Loopback, hosted
from tiny_llama import write_talking_llama

MODEL = "tiny"


@pytest.fixture(scope="session")
def fake_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("faults")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


@pytest.fixture(scope="session")
def torch_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("torch-faults")
    write_talking_llama(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def service(fake_house: Loopback) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=fake_house.url, api_key=fake_house.key) as client:
        yield client
