"""Routes of operations that a run does in the order of their numbers. When one is refused, even because its body could
not be read, the desk is told of its number: the SDK goes on with the next one, which would wait for it.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from google.protobuf.message import DecodeError

from anubhav.errors import AnubhavError, Broken
from anubhav.flows.house import House
from anubhav.http.auth import OutOfScope
from anubhav.http.errors import malformed
from anubhav.http.tinker import proto
from anubhav.http.tinker import wire_pb2 as wire
from anubhav.types.ids import RunId
from anubhav.types.models import Principal


class Numbered(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except RequestValidationError as problem:
                return await _refuse(request, malformed(problem), problem)
            except OutOfScope:
                raise  # who may not train a run cannot use up its numbers either
            except AnubhavError as problem:
                return await _refuse(request, problem, problem)
            except Exception as problem:  # noqa: BLE001 - raised again, or told by a promise
                return await _refuse(request, Broken("The server failed on this request"), problem)

        return handle


async def _refuse(request: Request, refusal: AnubhavError, problem: Exception) -> Response:
    """Raises `problem`, unless the desk gives a promise for it."""
    house: House = request.app.state.house
    who: Principal = request.scope["state"]["principal"]
    place = _place(await request.body(), request.headers.get("content-type", ""))
    if place is None:
        raise problem
    try:
        promise = await house.desk.refuse(who.tenant, place[0], place[1], refusal)
    except AnubhavError as raised:
        raise (problem if raised is refusal else raised) from problem
    return JSONResponse({"request_id": promise, "model_id": place[0]})


def _place(body: bytes, kind: str) -> tuple[RunId, int] | None:
    """The run and the number that a body names, whatever else is wrong with it."""
    if kind.startswith(proto.CONTENT_TYPE):
        message = wire.ForwardBackwardRequest()
        try:
            message.ParseFromString(body)
        except DecodeError:
            return None
        return RunId(message.model_id), message.seq_id
    try:
        match json.loads(body):
            case {"model_id": str(run), "seq_id": int(number)}:
                return RunId(run), number
            case _:
                return None
    except (ValueError, RecursionError):
        return None
