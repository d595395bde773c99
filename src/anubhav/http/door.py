"""What happens to every request before a route sees it, in this order: a request id, the path without its prefix,
the Host check, the principal, the body: unpacked, and no larger than its limit either way. Whatever goes wrong leaves
as one typed JSON answer.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anubhav.errors import AnubhavError, NotAllowed, NotAuthenticated, NotFound, TooLarge
from anubhav.http.auth import Keyring, identify, is_public
from anubhav.http.errors import answer, broken
from anubhav.http.packing import Unpacker, unpacker
from anubhav.http.visits import Visit, visited
from anubhav.telemetry.notes import note
from anubhav.types.ids import new_id

_MARK = "/api/v1/"
_OWN_PREFIXES = ("/oai", "/anthropic")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The Host names of a server that only this machine reaches."""
MEGABYTE = 1 << 20
_LIMITS = {
    "/api/v1/forward_backward": 64 * MEGABYTE,
    "/api/v1/forward": 64 * MEGABYTE,
    "/api/v1/checkpoints/upload": 256 * MEGABYTE,
    "/v1/files": 256 * MEGABYTE,
    "/oai/api/v1/files": 256 * MEGABYTE,
}
_LIMIT = 32 * MEGABYTE


class Door:
    """ASGI middleware. `hosts` are the Host names answered to (None: any), against DNS rebinding to a local server."""

    def __init__(self, app: ASGIApp, keyring: Keyring, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._keyring = keyring
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            raise NotFound("Only HTTP is spoken here")

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        with visited(scope, request_id) as visit:
            await self._attend(scope, receive, send, visit)

    async def _attend(self, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        request_id: str = scope["state"]["request_id"]
        started = False

        async def stamp(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started, visit.status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, await self._admit(scope, receive), stamp)
        except AnubhavError as error:
            if not started:
                await answer(error, request_id, scope["path"])(scope, receive, stamp)
        except Exception as problem:  # noqa: BLE001 - the last resort of every request
            response = broken(problem, request_id, scope["path"])
            if not started:
                await response(scope, receive, stamp)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Let the request in, with its whole body read, or raise what it is refused for."""
        headers = Headers(scope=scope)
        scope["path"] = strip_prefix(scope["path"])
        self._check_host(headers.get("host", ""))
        method: str = scope["method"]
        public = is_public(method, scope["path"])
        try:
            who = scope["state"]["principal"] = await identify(self._keyring, method, headers)
            note(tenant=who and who.tenant)
        except NotAuthenticated:
            if not public:
                raise
        if not public and scope["state"].get("principal") is None:
            raise NotAuthenticated("This needs an API key", hint="Send X-API-Key or Authorization: Bearer with it.")
        unpacking = unpacker(headers.get("content-encoding", "identity").strip().lower())
        limit = _LIMITS.get(scope["path"], _LIMIT)
        return await _read_whole(receive, limit, headers.get("content-length", ""), unpacking)

    def _check_host(self, host: str) -> None:
        name, _, port = host.rpartition(":")
        if self._hosts is not None and (name if port.isdecimal() else host).lower() not in self._hosts:
            raise NotAllowed(
                "This server answers only to its own host name",
                hint="Use http://127.0.0.1:<port>, or start it with --host for others.",
            )


def strip_prefix(path: str) -> str:
    """`/services/tinker-prod/api/v1/x` → `/api/v1/x`: base URLs may carry a path; those of other faces are kept."""
    before, mark, after = path.partition(_MARK)
    if not mark:
        return path
    own = next((prefix for prefix in _OWN_PREFIXES if before.endswith(prefix)), "")
    return own + mark + after


async def _read_whole(receive: Receive, limit: int, announced: str, unpacking: Unpacker) -> Receive:
    """A `receive` that gives the body in one piece. An oversize body is read off the wire (and dropped) first:
    answering earlier would reset the connection, and the client would repeat what it takes for a lost one.
    """
    parts: list[bytes] = []
    size, kept, more = 0, 0, True
    refused = announced.isdecimal() and int(announced) > limit
    while more and size <= 4 * limit:
        message = await receive()
        if message["type"] != "http.request":
            break
        part = message.get("body", b"")
        size += len(part)
        refused = refused or size > limit
        if not refused:
            part = unpacking.feed(part, limit - kept)
            kept += len(part)
            refused = kept > limit
        if refused:
            parts.clear()
        else:
            parts.append(part)
        more = message.get("more_body", False)
    if refused:
        raise TooLarge(f"The body is larger than {limit // MEGABYTE} MB", hint="Send less at a time.")
    unpacking.finish()
    whole: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def replay() -> Message:
        return whole.pop() if whole else await receive()

    return replay
