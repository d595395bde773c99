"""The functions of the package: one client for each server that the environment names."""

from functools import lru_cache
from os import environ

from anubhav.feedback.clients import Feedback
from anubhav.feedback.wording import Receipt, Reply, Side

_NAMES = ("ANUBHAV_BASE_URL", "ANUBHAV_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_KEY")


def thumbs(reply: Reply, *, up: bool, rater: str | None = None, id: str | None = None) -> Receipt:
    return _client().thumbs(reply, up=up, rater=rater, id=id)


def rate(reply: Reply, value: float, *, rater: str | None = None, id: str | None = None) -> Receipt:
    """From 0 (bad) to 1 (good)."""
    return _client().rate(reply, value, rater=rater, id=id)


def correct(reply: Reply, text: str, *, rater: str | None = None, id: str | None = None) -> Receipt:
    """`text`: what it should have said."""
    return _client().correct(reply, text, rater=rater, id=id)


def compare(a: Reply, b: Reply, better: Side, *, rater: str | None = None, id: str | None = None) -> Receipt:
    return _client().compare(a, b, better, rater=rater, id=id)


def outcome(
    reply: Reply | None = None,
    *,
    name: str,
    value: float,
    session: str | None = None,
    rater: str | None = None,
    id: str | None = None,
) -> Receipt:
    """What came of a reply, or of the last main reply of a session, from 0 to 1."""
    return _client().outcome(reply, name=name, value=value, session=session, rater=rater, id=id)


def _client() -> Feedback:
    return _client_for(tuple(environ.get(name) for name in _NAMES))


@lru_cache(maxsize=8)
def _client_for(_: tuple[str | None, ...]) -> Feedback:
    return Feedback()
