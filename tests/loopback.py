"""The whole house on a port of this machine, in a thread of the test's own process."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from anubhav.app import build
from anubhav.flows.house import House
from anubhav.flows.keyring import Keyring
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.settings import Settings
from anubhav.types.models import Model

KEY = "tml-compat-test"
T = TypeVar("T")


@dataclass(frozen=True)
class Loopback:
    """The whole house on a port of this machine."""

    url: str
    key: str
    keyring: Keyring
    house: House
    loop: asyncio.AbstractEventLoop

    def add_key(self, tenant: str) -> str:
        return self.run(self.keyring.add(tenant))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """In the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


async def host(folder: Path, context: int, started: "Future[tuple[Loopback, uvicorn.Server]]") -> None:
    model = Model("tiny", folder / "tiny", "Apache-2.0", "folder", context, 258)
    settings = Settings(data_dir=folder / "data", models_dir=folder / "models", api_key=KEY)
    async with build(settings, {"tiny": model}) as (house, keyring):
        await keyring.preset(KEY)
        app = create_app(house, keyring, hosts=LOOPBACK)
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=1))
        # Without its protocol named, asyncio would leave Nagle's algorithm on: 40 ms an answer.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        started.set_result((Loopback(url, KEY, keyring, house, asyncio.get_running_loop()), server))
        await server.serve(sockets=[listener])


@contextmanager
def hosted(folder: Path, context: int = 512) -> Generator[Loopback]:
    started: Future[tuple[Loopback, uvicorn.Server]] = Future()

    def serve() -> None:
        try:
            asyncio.run(host(folder, context, started))
        except Exception as problem:
            started.set_exception(problem)
            raise

    thread = threading.Thread(target=serve)
    thread.start()
    loopback, server = started.result(timeout=60)
    try:
        yield loopback
    finally:
        server.should_exit = True
        thread.join()
