"""What every script of a client shares: the server's address, and cases that are run one after the other and told as
lines of JSON. It is run by the client's own Python, so it needs nothing but the standard library.
"""

import asyncio
import inspect
import json
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

URL = os.environ["ANUBHAV_URL"]
V1 = f"{URL}/v1"
KEY = os.environ["ANUBHAV_API_KEY"]
MODEL = os.environ["ANUBHAV_MODEL"]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
_CASES: list[tuple[str, Callable[[], Any]]] = []


def case(capability: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Marks a function as the case of a capability; it raises what goes wrong, and may return a figure to be told."""

    def mark(check: Callable[[], Any]) -> Callable[[], Any]:
        _CASES.append((capability, check))
        return check

    return mark


def run() -> None:
    """Every case; warnings that the client gives about the server's answers count as failures."""
    for capability, check in _CASES:
        wrong = figure = None
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                figure = asyncio.run(check()) if inspect.iscoroutinefunction(check) else check()
            told = [str(one.message) for one in heard if "Pydantic serializer warnings" in str(one.message)]
            wrong = told[0] if told else None
        except Exception as problem:  # noqa: BLE001 - a client fails in its own way
            traceback.print_exc(file=sys.stderr)
            wrong = f"{type(problem).__name__}: {problem}"
        line = {"capability": capability, "wrong": wrong and wrong[:500], "figure": figure}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
