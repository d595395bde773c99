"""The doorstep: what stands in front of a house that is not open yet, and how its server ends."""

from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from anubhav.errors import Unavailable
from anubhav.http.errors import answer
from anubhav.types.ids import new_id


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
