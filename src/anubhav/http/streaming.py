"""Server-sent events: the bodies of any dialect as they go over the wire, and what goes wrong among them."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from anubhav.errors import AnubhavError
from anubhav.http.errors import body_of, broken

DONE = b"data: [DONE]\n\n"


async def streamed(
    events: AsyncGenerator[dict[str, Any]], request_id: str, *, named: bool = False, ending: bytes = b""
) -> AsyncGenerator[bytes]:
    """Events with names where the dialect has some; what goes wrong after the first is an event too."""
    try:
        async with aclosing(events) as bodies:
            async for body in bodies:
                yield _frame(body, named=named)
    except AnubhavError as problem:
        yield _frame(body_of(problem, request_id), named=named)
    except Exception as problem:  # noqa: BLE001 - the status is sent already, so this is the last resort here
        yield _frame(json.loads(bytes(broken(problem, request_id).body)), named=named)
    else:
        if ending:
            yield ending


def _frame(body: dict[str, Any], *, named: bool) -> bytes:
    written = msgspec.json.encode(body)
    if not written.isascii():
        # Some clients take U+2028 and its like for the end of a line, where they are not escaped.
        written = json.dumps(body).encode()
    return (b"event: %b\ndata: %b\n\n" % (body["type"].encode(), written)) if named else b"data: %b\n\n" % written
