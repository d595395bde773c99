"""What is known about the work under way, for whatever is logged meanwhile: its request, tenant, run, model, reply.

Notes belong to a task and to those it begins, so rooms note what they know where they know it and pass nothing on.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_notes: ContextVar[dict[str, str] | None] = ContextVar("notes", default=None)


@contextmanager
def noting(**facts: str) -> Generator[dict[str, str]]:
    """Fresh notes for what is done inside; those around it are seen again afterwards."""
    token = _notes.set(facts)
    try:
        yield facts
    finally:
        _notes.reset(token)


def note(**facts: str | None) -> None:
    """Names and ids alone: never a key, and nothing that somebody wrote."""
    notes = _notes.get()
    if notes is not None:
        notes.update({name: fact for name, fact in facts.items() if fact})


def noted() -> Mapping[str, str]:
    return _notes.get() or {}
