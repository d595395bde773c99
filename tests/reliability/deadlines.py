"""No call of a client may hang: each is given ten seconds, and must fail by an error that says why."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
DEADLINE = 10.0


def within(call: Callable[[], T], seconds: float = DEADLINE) -> T:
    """The call's result or its error; a call that outlives its time fails the test instead of stopping it."""
    ended: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((call(), None))
        except BaseException as problem:  # noqa: BLE001 - raised again where the test sees it
            ended.append((None, problem))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        pytest.fail(f"the call hung: it had no end after {seconds:.0f} s")
    value, problem = ended[0]
    if problem is not None:
        raise problem
    return value


def fails(call: Callable[[], Any], kind: type[Exception], *words: str, at_once: float = 3.0) -> Exception:
    """The error of a call that must fail by `kind`, with these words in what it says, before the SDK tries it again."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        within(call)
    taken = time.monotonic() - started
    said = str(caught.value)
    assert taken < at_once, f"it took {taken:.1f} s to say: {said}"
    for word in words:
        assert word.lower() in said.lower(), f"{word!r} is not in: {said}"
    return caught.value
