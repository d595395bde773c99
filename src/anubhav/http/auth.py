"""One resolver for every face: an API key, or a token made from one, in X-API-Key or Authorization: Bearer; or the
pages' cookie.

Everything is denied by default; what needs no key is listed in `is_public`.
"""

import re
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers

from anubhav.errors import NotAllowed, NotAuthenticated
from anubhav.flows.keyring import Keyring
from anubhav.types.models import Principal, Scope

__all__ = ["COOKIE", "Keyring", "Needs", "OutOfScope", "credential", "identify", "is_public", "needs", "principal"]

COOKIE = "anubhav"
_HEALTH = frozenset({"/healthz", "/health", "/api/v1/healthz"})
_HUB = re.compile(r"/api/models/.+|/[^/]+(/[^/]+)?/resolve/[^/]+/.+")
"""Tokenizer files, as a model hub serves them: its clients send no key of ours."""
_SIGNED = re.compile(r"/api/v1/signed/[^/]+/[^/]+")
"""Downloads at addresses this server signed: the route checks the signature."""
_PAGES = re.compile(
    r"/|/(playground|review|feedback|rewards|releases|memory|models|admin|plan)|/episodes/[^/]+|/favicon\.ico|/static/.+"
    r"|/(sessions|training_runs|gates|checkpoints|keys)(/.+)?"
)
"""A page itself turns to its sign-in text when there is no principal."""


def is_public(method: str, path: str) -> bool:
    open_to_all = path in _HEALTH or any(kind.fullmatch(path) for kind in (_HUB, _SIGNED, _PAGES))
    return method in ("GET", "HEAD") and open_to_all


async def identify(keyring: Keyring, method: str, headers: Headers) -> Principal | None:
    """None when the request names nobody; raises NotAuthenticated when it names somebody unknown."""
    if given := credential(headers):
        return await keyring.check(given)
    if ticket := _ticket(headers.get("cookie", "")):
        if method not in ("GET", "HEAD") and urlsplit(headers.get("origin", "")).netloc != headers.get("host"):
            # SameSite does not tell ports of one host apart, so another local page could post with our cookie.
            raise NotAllowed("A page from elsewhere tried to act for you", hint="Use the page of this server.")
        return keyring.check_ticket(ticket)
    return None


def credential(headers: Headers) -> str:
    """The key or token a request carries; empty when it has none."""
    if key := headers.get("x-api-key"):
        return key.strip()
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def principal(request: Request) -> Principal:
    """The dependency of every route that acts for somebody.

    Like all dependencies here it is async: FastAPI would call a plain one in another thread, and each such hop waits
    for the interpreter while a model computes.
    """
    found: Principal | None = getattr(request.state, "principal", None)
    if found is None:
        raise NotAuthenticated(
            "This needs an API key", hint="Send `X-API-Key: tml-…` or `Authorization: Bearer tml-…`."
        )
    return found


@dataclass(frozen=True, slots=True)
class Needs:
    """See `needs`."""

    scopes: frozenset[Scope]

    async def __call__(self, request: Request) -> None:
        if not self.scopes & (await principal(request)).scopes:
            named = " or ".join(sorted(self.scopes))
            raise OutOfScope(
                f"This key lacks the scope {named}",
                hint="Ask the operator for a key that has it: `anubhav key create --scope …`.",
            )


def needs(*scopes: Scope) -> Needs:
    """The dependency of routers and routes that take keys of certain scopes, any of these.

    train: runs, checkpoints and what was done with them; sample: samples, chats and feedback on them; read: to look,
    and change nothing; admin: what is the operator's, for an operator's key; judge: sealed probes, to read and write.
    """
    return Needs(frozenset(scopes))


class OutOfScope(NotAllowed):
    """A key that is not for this kind of request."""


def _ticket(cookies: str) -> str:
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""
