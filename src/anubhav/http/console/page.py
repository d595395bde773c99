"""What every page has in common: it is the operator's alone, it has the frame, and what goes wrong is a page too."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from anubhav.errors import AnubhavError, BadInput
from anubhav.flows.house import House
from anubhav.flows.overview import answering, learning
from anubhav.http.console.language import gettext, gettext_noop, greet
from anubhav.http.console.templates import HEADERS, render
from anubhav.http.errors import status_of
from anubhav.types.models import Principal

Json = dict[str, Any]
PAGES = (
    (gettext_noop("Home"), "/", "h"),
    (gettext_noop("Playground"), "/playground", "p"),
    (gettext_noop("Review"), "/review", "r"),
    (gettext_noop("Sessions"), "/sessions", "s"),
    (gettext_noop("Feedback"), "/feedback", "f"),
    (gettext_noop("Rewards"), "/rewards", "w"),
    (gettext_noop("Gates"), "/gates", "e"),
    (gettext_noop("Releases"), "/releases", "l"),
    (gettext_noop("Runs"), "/training_runs", "t"),
    (gettext_noop("Models"), "/models", "o"),
    (gettext_noop("Checkpoints"), "/checkpoints", "c"),
    (gettext_noop("Memory"), "/memory", "m"),
    (gettext_noop("Plan"), "/plan", "n"),
    (gettext_noop("Admin"), "/admin", "a"),
)
"""Name, address, and the key that goes there after `g`."""


class Page(APIRoute):
    """A route that answers with a page: for whoever is not signed in, with the one that says how to."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        inside = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if (switched := greet(request)) is not None:
                return switched
            if not welcome(request) and "token" not in request.query_params:
                return sign_in()
            try:
                return await inside(request)
            except RequestValidationError:
                return _problem(BadInput("The address has something wrong in it", hint="Begin at the home page."))
            except AnubhavError as problem:
                return _problem(problem)

        return answer


async def show(house: House, name: str, place: str, **context: Any) -> HTMLResponse:
    """The template within the frame; `place`: where in the navigation it belongs."""
    return HTMLResponse(render(name, place=place, frame=await _frame(house), pages=PAGES, **context), headers=HEADERS)


async def chosen(house: House, alias: str | None) -> tuple[list[str], str]:
    """The aliases, that which answers first, and the one that is meant."""
    names = [one.alias for one in await answering(house)]
    return names, alias if alias in names else names[0]


def welcome(request: Request) -> bool:
    who: Principal | None = getattr(request.state, "principal", None)
    return who is not None and who.operator and "admin" in who.scopes


def sign_in(problem: str = "") -> HTMLResponse:
    return HTMLResponse(render("sign_in.html", problem=problem), 401, HEADERS)


def _problem(problem: AnubhavError) -> HTMLResponse:
    return HTMLResponse(
        render("problem.html", message=problem.message, hint=problem.hint), status_of(problem)[0], HEADERS
    )


async def _frame(house: House) -> Json:
    aliases, state = await answering(house), await learning(house)
    first = aliases[0]
    return {
        "alias": first.alias,
        "speaks": first.release.path
        if first.release and first.release.path
        else gettext("base model {name}", name=first.base_model),
        "taught": bool(first.release and first.release.path),
        "others": len(aliases) - 1,
        "trial": first.trial,
        "percent": first.percent,
        "learning": state.state,
        "hold": state.hold,
    }
