"""The relay: what a server is that does not lead. It holds nothing: each request goes on to the one that leads.

While nobody leads, requests wait. A request is sent again only if it was surely not begun, or asks and changes nothing;
any other that breaks off is answered 503, and whether it may be repeated is its client's to know. Who asks is for the
leader to check, by the credentials that came along.
"""

import asyncio
import socket
import time
from collections.abc import Sequence

import httpx2
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anubhav.errors import AnubhavError, Busy, Unavailable
from anubhav.http.errors import answer
from anubhav.http.hangup import unless_gone
from anubhav.types.ids import new_id

RELAYED = "x-anubhav-relayed"
"""Of a request that was sent on: whether its client is on the machine that sent it on (`near`) or not (`far`)."""
_NOT_LEADING = "x-anubhav-not-leading"
_WAIT = 60.0
"""Seconds in which somebody has to lead."""
_PAUSE = 0.1
_HELD = 512 << 20
"""Bytes of all bodies kept at a time, so that they can be sent to another leader."""
_WHOLE = 8 << 20
"""An answer up to this size is read before any of it is passed on, so that a leader may die at it unnoticed."""
_HOPS = frozenset({"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})
_HEALTH = ("/healthz", "/health")
_LOOPBACK = ("127.0.0.1", "::1")
_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    *[(socket.IPPROTO_TCP, getattr(socket, name), value)
      for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)) if hasattr(socket, name)],
]  # fmt: skip


class Relay:
    """ASGI. `inside` is the house once it is open here; until then requests go to `leader`, as soon as there is one."""

    def __init__(self, *, wait: float = _WAIT) -> None:
        self.inside: ASGIApp | None = None
        self.leader: str | None = None
        """Its address; None while this server itself leads, or nobody does."""
        self._wait, self._held = wait, 0
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(None, connect=3, pool=10),
            limits=httpx2.Limits(max_connections=None, keepalive_expiry=30),
            transport=httpx2.AsyncHTTPTransport(socket_options=_ALIVE, retries=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.inside is not None:
            await self.inside(scope, receive, send)
        elif scope["type"] == "http":
            request = _Request(scope)
            try:
                await self._pass_on(request, receive, send)
            except AnubhavError as error:
                if not request.answered:
                    response = answer(error, new_id("req"), scope["path"])
                    response.headers[_NOT_LEADING] = "1"
                    await response(scope, receive, send)
            finally:
                self._held -= len(request.body)

    async def _pass_on(self, request: "_Request", receive: Receive, send: Send) -> None:
        if RELAYED in request.names:
            raise Unavailable("This server does not lead", hint="Repeat the request in a moment.")
        await self._read(request, receive)
        await unless_gone(receive, self._insist(request, send))

    async def _read(self, request: "_Request", receive: Receive) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Unavailable("The client went away")
            part: bytes = message.get("body", b"")
            if self._held + len(part) > _HELD:
                raise Busy("This server has too much to pass on now", hint="Repeat the request in a moment.")
            self._held += len(part)
            request.body += part
            more = message.get("more_body", False)

    async def _insist(self, request: "_Request", send: Send) -> None:
        until = time.monotonic() + (0 if request.scope["path"].endswith(_HEALTH) else self._wait)
        while True:
            if self.inside is not None:
                await self._enter(self.inside, request, send)
                return
            if self.leader is not None and await self._try(self.leader, request, send):
                return
            if time.monotonic() >= until:
                raise Unavailable("No server leads now", hint="Repeat the request in a moment.")
            await asyncio.sleep(_PAUSE)

    async def _enter(self, inside: ASGIApp, request: "_Request", send: Send) -> None:
        """This server leads by now."""
        whole: list[Message] = [{"type": "http.request", "body": bytes(request.body), "more_body": False}]

        async def replay() -> Message:
            if whole:
                return whole.pop()
            # That the client goes away is heard by whoever waits for it already, and ends this.
            await asyncio.Event().wait()
            raise AssertionError

        request.answered = True  # whatever goes wrong from here on, the house has answered
        await inside(request.scope, replay, send)

    async def _try(self, leader: str, request: "_Request", send: Send) -> bool:
        """False when it was surely not begun, or may be asked again."""
        try:
            response = await self._client.send(request.to(leader), stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            return False
        except httpx2.TransportError:
            return request.broken()
        try:
            if _NOT_LEADING in response.headers:
                return False
            size = response.headers.get("content-length", "")
            if size.isdecimal() and int(size) <= _WHOLE:
                whole = b"".join([part async for part in response.aiter_raw()])
                await request.begin_answer(response, send)
                await send({"type": "http.response.body", "body": whole})
                return True
            await request.begin_answer(response, send)
            async for part in response.aiter_raw():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return True
        except httpx2.TransportError:
            return request.broken()
        finally:
            await response.aclose()


class _Request:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.body = bytearray()
        self.answered = False
        self.names = {name.decode("latin-1").lower() for name, _ in scope["headers"]}

    def to(self, leader: str) -> httpx2.Request:
        near = (self.scope.get("client") or ("",))[0] in _LOOPBACK
        headers = [*_without_hops(self.scope["headers"]), (RELAYED.encode(), b"near" if near else b"far")]
        target: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        if self.scope["query_string"]:
            target += b"?" + self.scope["query_string"]
        has_body = bool(self.body) or "content-length" in self.names or "transfer-encoding" in self.names
        return httpx2.Request(
            self.scope["method"], leader, headers=headers, content=bytes(self.body) if has_body else None,
            extensions={"target": target},
        )  # fmt: skip

    def broken(self) -> bool:
        """What becomes of a request whose leader broke off. False: it is asked again."""
        if self.answered:
            raise ConnectionAbortedError("the leader broke off in the middle of its answer")
        if self.scope["method"] in ("GET", "HEAD"):
            return False
        raise Unavailable(
            "The server that leads stopped while it had this request", hint="Repeat it if it may be done twice."
        )

    async def begin_answer(self, response: httpx2.Response, send: Send) -> None:
        self.answered = True
        headers = [one for one in _without_hops(response.headers.raw) if one[0] != b"date"]  # our server's own is there
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})


def _without_hops(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.decode("latin-1").lower() not in _HOPS]
