"""Listening: a reply's text while it grows, told apart into what was thought, what was said and what was called.

A mark is never shown in part: text that may be the beginning of one waits. Calls come whole, once their section is. A
section that cannot be read was no call: it is given as text, so that nothing of a reply is lost.
"""

from collections.abc import Sequence

from anubhav.rendering.speech.dialects import Dialect, Section
from anubhav.types.chat import Heard, Tool, ToolCall

_BLANK = " \t\r\n"


class Listener:
    """One reply. The texts of its parts joined, and its calls, do not depend on how it was cut into pieces."""

    def __init__(
        self, dialect: Dialect, tools: Sequence[Tool] = (), name: str = "call_", *, thinking: bool = False
    ) -> None:
        """`thinking`: the prompt has opened a thought already. Without tools nothing is a call.

        `name`: how the ids of its calls begin, where the family has no ids of its own.
        """
        self._dialect, self._tools = dialect, tools
        self._name, self._called = name, 0
        self._sections = dialect.sections if tools else ()
        self._thinking = thinking
        self._section: Section | None = None
        self._held = ""
        self._fresh = True
        """Nothing but blanks was said so far."""
        self._trims = thinking
        """Blanks that follow a mark are no part of what comes next."""

    def push(self, text: str) -> Heard:
        self._held += text
        return self._advance(last=False)

    def flush(self) -> Heard:
        """What was held back, once nothing will follow."""
        return self._advance(last=True)

    def _advance(self, *, last: bool) -> Heard:
        heard = Heard()
        while True:
            before = (self._held, self._thinking, self._section)
            if self._section:
                more = self._call(self._section, last=last)
            elif self._thinking:
                more = self._think(last=last)
            else:
                more = self._say(last=last)
            heard += more
            nothing_left = not self._held and self._section is None
            if nothing_left or (self._held, self._thinking, self._section) == before:
                return heard

    def _think(self, *, last: bool) -> Heard:
        assert self._dialect.thinks
        thought, closed = self._until(self._dialect.thinks[1], last=last)
        if self._trims and (thought := thought.lstrip(_BLANK)):
            self._trims = False
        if not closed and not last:
            # Blanks at the end may be those before the mark.
            kept = thought.rstrip(_BLANK)
            self._held, thought = thought[len(kept) :] + self._held, kept
            self._trims = self._trims and not kept
        if closed:
            self._thinking, self._trims, thought = False, True, thought.rstrip(_BLANK)
        return Heard(reasoning=thought)

    def _say(self, *, last: bool) -> Heard:
        if self._trims:
            self._held = self._held.lstrip(_BLANK)
            if not self._held:
                return Heard()
            self._trims = False
        opens = self._opens()
        opened = self._next_mark(opens) if opens else None
        if opened is None:
            return Heard(self._take(len(self._held) if last else self._surely_said(opens)))
        at, mark = opened
        said = self._take(at)
        if self._dialect.thinks and mark == self._dialect.thinks[0]:
            self._held = self._held[len(mark) :]
            self._thinking = self._trims = True
        else:
            self._section = next(one for one in self._sections if one.open == mark)
            self._held = self._held[0 if self._section.begins else len(mark) :]
        return Heard(said.rstrip(_BLANK))

    def _call(self, section: Section, *, last: bool) -> Heard:
        end = self._held.find(section.close) if section.close else -1
        if end < 0 and not last:
            return Heard()
        body = self._held if end < 0 else self._held[:end]
        raw = ("" if section.begins else section.open) + (body if end < 0 else body + (section.close or ""))
        self._held = "" if end < 0 else self._held[end + len(section.close or "") :]
        self._section, self._fresh = None, False
        try:
            spoken = section.read(body, self._tools)
        except ValueError:
            return Heard(raw)
        self._trims = True
        first, self._called = self._called, self._called + len(spoken)
        return Heard(
            calls=tuple(
                ToolCall(one.id or f"{self._name}{place}", one.name, one.arguments)
                for place, one in enumerate(spoken, first)
            )
        )

    def _surely_said(self, opens: Sequence[str]) -> int:
        """How much of what is held is words, whatever follows: no beginning of a mark, nor blanks before one."""
        if not opens:
            return len(self._held)
        keep = max(_overlap(self._held, mark) for mark in opens)
        return len(self._held[: len(self._held) - keep].rstrip(_BLANK))

    def _until(self, mark: str, *, last: bool) -> tuple[str, bool]:
        """What comes before the mark, and whether the mark has come; it is taken away."""
        at = self._held.find(mark)
        if at >= 0:
            text, self._held = self._held[:at], self._held[at + len(mark) :]
            return text, True
        keep = 0 if last else _overlap(self._held, mark)
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return text, False

    def _take(self, size: int) -> str:
        text, self._held = self._held[:size], self._held[size:]
        self._fresh = self._fresh and not text.strip(_BLANK)
        return text

    def _opens(self) -> list[str]:
        """The marks that may come now: a thought, and calls that are the whole reply, only where it begins."""
        thinks = [self._dialect.thinks[0]] if self._dialect.thinks and self._fresh else []
        return thinks + [one.open for one in self._sections if self._fresh or not one.begins]

    def _next_mark(self, opens: Sequence[str]) -> tuple[int, str] | None:
        blank = len(self._held) - len(self._held.lstrip(_BLANK))
        starts = {one.open for one in self._sections if one.begins}
        found = [
            (at, mark) for mark in opens if (at := self._held.find(mark)) >= 0 and (mark not in starts or at == blank)
        ]
        return min(found) if found else None


def _overlap(text: str, mark: str) -> int:
    """The length of the longest end of `text` that begins `mark`."""
    longest = min(len(text), len(mark) - 1)
    return next((size for size in range(longest, 0, -1) if mark.startswith(text[-size:])), 0)
