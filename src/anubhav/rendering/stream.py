"""Text while it is being sampled: pieces that are final when shown, and stop strings that never leak."""

from collections.abc import Sequence
from typing import Protocol

_WINDOW, _CONTEXT, _LIMIT = 16, 8, 192
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Decoder(Protocol):
    def decode(self, tokens: Sequence[int]) -> str: ...

    def is_control(self, token: int) -> bool: ...


class TextStream:
    """Tokens in, text out. The pieces joined are the decoded whole; the cost of a push depends on its tokens alone."""

    def __init__(self, renderer: Decoder) -> None:
        self._renderer = renderer
        self._window: list[int] = []
        self._shown = 0

    def push(self, tokens: Sequence[int]) -> str:
        """The new text that later tokens cannot change; an unfinished UTF-8 character is held back."""
        self._window += [token for token in tokens if not self._renderer.is_control(token)]
        text = self._renderer.decode(self._window)
        full = len(self._window) > _LIMIT
        safe = len(text) - _held(text, full=full)
        piece = text[self._shown : safe]
        self._shown = max(self._shown, safe)
        if full or (len(self._window) > _WINDOW and safe == len(text)):
            self._forget(text)
        return piece

    def flush(self) -> str:
        """What was held back, once no token will follow."""
        piece = self._renderer.decode(self._window)[self._shown :]
        self._window, self._shown = [], 0
        return piece

    def _forget(self, text: str) -> None:
        """Keep some tokens as context, for a decoder may strip a leading space; never begin inside a character."""
        for size in range(_CONTEXT, _CONTEXT - 4, -1):
            tail = self._renderer.decode(self._window[-size:])
            if text.endswith(tail):
                self._window = self._window[-size:]
                self._shown = len(tail) - _held(tail, full=True)
                return


def _held(text: str, *, full: bool) -> int:
    """How many marks at the end may still become something else: three, or all where bytes decode all or nothing."""
    marks = len(text) - len(text.rstrip(_UNFINISHED))
    return min(marks, 3) if full else marks


class StopStrings:
    """Cuts a stream of text where the first of `strings` is complete, however the text is cut into pieces."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(text for text in strings if text)
        self._held = ""
        self._stopped = False

    def push(self, text: str) -> tuple[str, bool]:
        """(text safe to show, whether a stop string is complete); the stop string and what follows it are not shown."""
        if self._stopped:
            return "", True
        if not self._strings:
            return text, False
        self._held += text
        found = [(at + len(stop), at) for stop in self._strings if (at := self._held.find(stop)) >= 0]
        if found:
            safe, self._held, self._stopped = self._held[: min(found)[1]], "", True
            return safe, True
        keep = max((_overlap(self._held, stop) for stop in self._strings), default=0)
        safe = self._held[: len(self._held) - keep]
        self._held = self._held[len(safe) :]
        return safe, False

    def flush(self) -> str:
        """What was held back because it might have become a stop string."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that begins `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
