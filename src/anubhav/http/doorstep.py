"""The doorstep: where a house listens, what stands in front of one that is not open yet, and how its server ends."""

import socket
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from anubhav.errors import Unavailable
from anubhav.http.errors import answer
from anubhav.types.ids import new_id

_DRAIN_SECONDS = 25


class Doorstep:
    """Answers 503 until the house behind it is open."""

    def __init__(self) -> None:
        self.inside: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.inside is not None:
            await self.inside(scope, receive, send)
        elif scope["type"] == "http":
            starting = Unavailable("The server is starting", hint="Repeat the request in a few seconds.")
            await answer(starting, new_id("req"), scope["path"])(scope, receive, send)


class Server(uvicorn.Server):
    """The first signal lets what runs finish, the second one does not; neither is raised again afterwards."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def server_of(app: ASGIApp) -> Server:
    return Server(
        uvicorn.Config(
            app,
            # Not the faster one, even where it is installed: this one bounds the size of headers.
            http="h11",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            # Longer than clients keep an idle connection, or one is closed just as it is used again.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Raises Unavailable where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without its protocol named, asyncio would leave Nagle's algorithm on: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as problem:
        listener.close()
        raise Unavailable(
            f"{host}:{port} cannot be listened on ({problem.strerror or problem})",
            hint="Is a server running there already? Stop it, or choose another with --port.",
        ) from problem
    return listener
