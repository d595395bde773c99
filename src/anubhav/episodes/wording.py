"""What each kind of feedback may say, checked before anything is kept."""

import math
from collections.abc import Callable, Mapping

from anubhav.errors import BadInput

_THUMBS: Mapping[object, float] = {"up": 1.0, "down": 0.0}
_LONGEST = 32_000


def checked(kind: str, value: object, text: str | None) -> tuple[float | None, str | None]:
    """(value, text) as they are kept. Raises BadInput, saying what this kind takes."""
    if kind not in _KINDS:
        raise BadInput(f"The feedback kind {kind[:50]!r} is unknown", hint=f"Use one of {', '.join(_KINDS)}.")
    if text is not None and len(text) > _LONGEST:
        raise BadInput(f"The text has {len(text)} characters, more than {_LONGEST}", hint="Shorten it.")
    return _KINDS[kind](value), _text(kind, text)


def _text(kind: str, text: str | None) -> str | None:
    if kind == "correction" and not (text or "").strip():
        raise BadInput("A correction needs its text", hint='Send {"kind": "correction", "text": "what it should say"}.')
    return text


def _thumb(value: object) -> float:
    if isinstance(value, bool):
        return float(value)
    if value in _THUMBS:
        return _THUMBS[value]
    if isinstance(value, int | float) and value in (0, 1):
        return float(value)
    raise BadInput(
        "A thumb's value is true or false, 1 or 0, or up or down", hint='Send {"kind": "thumb", "value": true}.'
    )


def _share(value: object) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    raise BadInput("The value must be a number from 0 to 1", hint='Send {"kind": "rating", "value": 0.8}.')


def _nothing(value: object) -> None:
    return None


def _other(value: object) -> None:
    if not isinstance(value, str):
        raise BadInput("A comparison names the reply that lost in value", hint='Send {"value": "ep_…"} or "ep_…:1".')


_KINDS: Mapping[str, Callable[[object], float | None]] = {
    "thumb": _thumb,
    "rating": _share,
    "outcome": _share,
    "correction": _nothing,
    "comparison": _other,
}
