"""What the server says of itself, lift and its reward model, held against the truth that only the simulator knows."""

from typing import Any

from benchmarks.loop.line import Line, Refused

Json = dict[str, Any]


def ask(line: Line, path: str) -> tuple[Json | None, str]:
    """The answer, or the reason why there is none."""
    try:
        return line.call("GET", path), ""
    except Refused as refusal:
        return None, f"GET {path} answered {refusal}"


def first(told: Json | None, *names: str) -> Any:
    """The first of these fields that is there and not null; `a.b` looks inside `a`."""
    for name in names:
        found: Any = told
        for part in name.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return found
    return None
