"""No route hops to another thread for a dependency: each hop waits for the interpreter while a model computes."""

import inspect
from collections.abc import Iterator
from typing import Any, cast

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from anubhav.http.anubhav import judgement, laps, memory, memory_policies, people, probes, releases, routes
from anubhav.http.openai.routes import router as openai_router
from anubhav.http.tinker.routes import router as tinker_router

ROUTERS = (
    *(room.router for room in (judgement, laps, memory, memory_policies, people, probes, releases, routes)),
    openai_router,
    tinker_router,
)


def routes_of(router: Any) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield route
        elif inner := getattr(route, "original_router", None) or getattr(route, "router", None):
            yield from routes_of(inner)


def called(dependant: Dependant) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from called(one)


def test_every_dependency_is_async() -> None:
    routes = [route for router in ROUTERS for route in routes_of(router)]
    assert len(routes) > 60
    for route in routes:
        for call in called(route.dependant):
            work = call if inspect.isfunction(call) else cast(Any, call).__call__
            assert inspect.iscoroutinefunction(work), f"{route.path} depends on {call}"
