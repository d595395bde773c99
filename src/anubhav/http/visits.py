"""A visit: one request from the door to its last byte, counted and told to the log under its route's template."""

from collections.abc import Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from starlette.types import Scope

from anubhav.telemetry.logs import tell_request
from anubhav.telemetry.metrics import count_request
from anubhav.telemetry.notes import noting
from anubhav.telemetry.traces import joined

_HUNG_UP = 499
"""As nginx has it: nothing was answered, since nobody was there any more."""
_NOWHERE = "unmatched"


class Visit:
    """`status` is to be set when it is known."""

    def __init__(self) -> None:
        self.status = _HUNG_UP


@contextmanager
def visited(scope: Scope, request_id: str) -> Generator[Visit]:
    visit, begun = Visit(), perf_counter()
    with noting(request=request_id), joined(scope["headers"]):
        try:
            yield visit
        finally:
            seconds, route = perf_counter() - begun, _route(scope)
            count_request(route, scope["method"], visit.status, seconds)
            tell_request(scope["method"], route, visit.status, seconds)


def _route(scope: Scope) -> str:
    # Of a router that was included in another, `route` has the part of the path that the router knows.
    whole: Any = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return getattr(whole, "path", _NOWHERE)
