"""The whole house over the fake backend, behind its real front door, without a network."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.catalog.folders import inspect
from anubhav.flows.house import House
from anubhav.flows.keyring import Keyring
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.settings import Settings


@dataclass
class Front:
    house: House
    keyring: Keyring
    operator: httpx2.AsyncClient
    """Sends the operator's key."""
    user: httpx2.AsyncClient
    """Sends the key of tenant `ann`."""
    nobody: httpx2.AsyncClient


@pytest.fixture
def context() -> int:
    """Tokens that the model reads."""
    return 512


@pytest.fixture
async def front(tmp_path: Path, context: int) -> AsyncIterator[Front]:
    write_model(tmp_path / "tiny", context)
    model = inspect(tmp_path / "tiny", "tiny", repair="")
    settings = Settings(tmp_path / "data", tmp_path / "models", models=("tiny",))
    async with build(settings, {"tiny": model}) as (house, keyring):
        app = create_app(house, keyring, hosts=LOOPBACK)
        keys = [await keyring.add("local", operator=True), await keyring.add("ann"), ""]
        clients = [
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=app),
                base_url="http://127.0.0.1:8000",
                headers={"x-api-key": key} if key else {},
            )
            for key in keys
        ]
        yield Front(house, keyring, *clients)
        for client in clients:
            await client.aclose()
