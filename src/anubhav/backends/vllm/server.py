"""One vLLM server, kept up by a thread: started, waited for, started again when it ends, and gone with us.

Whatever was under way when it ended fails with Unavailable, which a client repeats; what comes while it starts again
waits. The calls may come from any event loop.
"""

import asyncio
import logging
import shutil
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec

from anubhav.backends.vllm.launch import socket_of
from anubhav.backends.vllm.process import Process
from anubhav.errors import AnubhavError, BadInput, Broken, NotFound, Unavailable

_LOOK: Final = 0.1
"""Seconds between two looks whether it is up."""
_STOP_SECONDS: Final = 15
_LONGEST_PAUSE: Final = 60.0
_TAIL: Final = 1500
_URL: Final = "http://vllm"
_AGAIN: Final = "Repeat the request: the engine is starting again."
# Nothing is encrypted within one machine, but a client makes a context anyway, and that takes 10 ms.
_PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_DATA: Final = "data: "

log = logging.getLogger(__name__)

Prepare = Callable[[httpx2.Client], None]


class Server:
    def __init__(
        self, command: Sequence[str], surroundings: Mapping[str, str], home: Path, patience: float, prepare: Prepare
    ) -> None:
        """Returns once it is up, which takes up to a minute. `prepare` is called after every start, before all others.

        The folder `home` is removed in the end. Raises Unavailable, with the end of its log, when it does not start.
        """
        self._command, self._surroundings, self.home = command, surroundings, home
        self._patience, self._prepare = patience, prepare
        self._up, self._stopping = threading.Event(), threading.Event()
        self._failure: AnubhavError | None = None
        self._doomed = False
        """Its engine is dead, whether or not it has noticed."""
        self.starts = 0
        self._thread = threading.Thread(target=self._keep_up, name="vllm", daemon=True)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        self._thread.start()

    @property
    def process(self) -> int:
        """The id of the process, and group, that everything of the server runs in."""
        return self._process.id

    @property
    def alive(self) -> bool:
        return self._up.is_set()

    def close(self) -> None:
        """Stop it and forget its folder. Safe to call twice."""
        self._stopping.set()
        self._up.clear()
        self._process.stop(_STOP_SECONDS)
        if self._thread.ident:  # it may be starting another one
            self._thread.join()
        self._process.clear_away()
        shutil.rmtree(self.home, ignore_errors=True)

    # What is asked of it

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to one request. Raises BadInput when it is refused and Unavailable when the server ends."""
        while True:
            await self._ready()
            with _told():
                async with self._client() as client:
                    response = await client.post(path, content=msgspec.json.encode(body), headers=_JSON)
                    if await self._taken(response):
                        return msgspec.json.decode(response.content) if _is_json(response) else None

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        """The events of one request. Closing this ends the request, and the server forgets it within a step."""
        while True:
            await self._ready()
            with _told():
                async with (
                    self._client() as client,
                    client.stream("POST", path, content=msgspec.json.encode(body), headers=_JSON) as response,
                ):
                    if await self._taken(response):
                        async for line in response.aiter_lines():
                            if line.startswith(_DATA) and line != f"{_DATA}[DONE]":
                                yield msgspec.json.decode(line.removeprefix(_DATA))
                        return

    async def _ready(self) -> None:
        """Until it listens: for a moment after its end it counts as up."""
        while not (self._up.is_set() and self._listens()):
            if self._stopping.is_set():
                raise Unavailable("The engine is stopping", hint="Repeat the request in a moment.")
            if self._failure:
                raise self._failure
            await asyncio.sleep(_LOOK / 2)

    def _client(self) -> httpx2.AsyncClient:
        transport = httpx2.AsyncHTTPTransport(uds=str(socket_of(self.home)), verify=_PLAIN)
        return httpx2.AsyncClient(transport=transport, base_url=_URL, timeout=None)

    async def _taken(self, response: httpx2.Response) -> bool:
        """False: the engine behind the server is dead, and the request may wait for the next one."""
        if response.status_code < 400:
            return True
        said = _message(await response.aread())
        if response.status_code == 404:
            raise NotFound(f"vLLM does not have what was asked for: {said}", hint="Attach it again.")
        if response.status_code < 500:
            raise BadInput(f"vLLM refused the request: {said}", hint="Correct it.")
        if await self._lives():
            raise Broken(f"vLLM failed: {said}", hint="The log has the details.")
        self._up.clear()
        self._doomed = True
        return False

    async def _lives(self) -> bool:
        with suppress(httpx2.TransportError):  # it is just going
            async with self._client() as client:  # the connection is closed after a failure
                return (await client.get("/health", timeout=_STOP_SECONDS)).status_code == 200
        return False

    # How it is kept up

    def _start(self) -> None:
        socket_of(self.home).unlink(missing_ok=True)
        self._process = Process(self._command, self._surroundings, self.home, self._log)
        with httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(socket_of(self.home)), verify=_PLAIN), base_url=_URL
        ) as client:
            self._wait(client)
            self._prepare(client)
        self.starts += 1
        self._failure, self._doomed = None, False
        self._up.set()

    def _wait(self, client: httpx2.Client) -> None:
        until = time.monotonic() + self._patience
        while time.monotonic() < until and not self._stopping.is_set():
            if self._process.ended:
                raise Unavailable(f"vLLM ended while it started. Its last words:\n{self._tail()}")
            if self._listens():
                with suppress(httpx2.TransportError):
                    if client.get("/health", timeout=10).status_code == 200:
                        return
            time.sleep(_LOOK)
        raise Unavailable(f"vLLM was not up after {self._patience:.0f} s. Its last words:\n{self._tail()}")

    def _listens(self) -> bool:
        # The client leaves a socket open for each time that it cannot connect.
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(socket_of(self.home))) == 0

    def _keep_up(self) -> None:
        while not self._stopping.wait(_LOOK):
            if not (self._process.ended or self._doomed):
                continue
            self._up.clear()
            log.warning("vLLM ended and is started again. Its last words:\n%s", self._tail())
            self._process.clear_away()
            pause = 1.0
            while not self._started_again():
                if self._stopping.wait(pause):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _started_again(self) -> bool:
        try:
            self._start()
        except Exception as problem:  # noqa: BLE001 - told to all who ask
            known = isinstance(problem, AnubhavError)
            self._failure = problem if known else Unavailable(f"vLLM does not start again ({problem!r})")
            log.warning("%s", self._failure)
            self._process.clear_away()
            return False
        return True

    @property
    def _log(self) -> Path:
        return self.home / "engine.log"

    def _tail(self) -> str:
        with suppress(OSError):
            return self._log.read_text("utf-8", errors="replace")[-_TAIL:]
        return ""


_JSON: Final = {"content-type": "application/json"}


def _is_json(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("application/json")


@contextmanager
def _told() -> Generator[None]:
    """What ends a connection is that the server ended."""
    try:
        yield
    except httpx2.TransportError as problem:
        raise _ended() from problem


def _ended() -> Unavailable:
    return Unavailable("The engine ended while it worked on this", hint=_AGAIN)


def _message(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content)["error"]["message"])[:500]
    except (msgspec.DecodeError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
