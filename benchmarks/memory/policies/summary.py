"""Repeated summarising by the served model: the rival that rewrites what it holds again and again.

Half of the budget is for the summary, half for the lines that have come since. When these are full, the model writes
the summary anew from both.
"""

import re
from collections.abc import Sequence

from anubhav.types.chat import Message as Turn
from benchmarks.memory.message import Count, Held, Message
from benchmarks.memory.voice import Voice

_ASKED = (
    "Here are notes of a conversation, and what was said since. Write the notes anew, so that nothing that may matter "
    "later is lost: facts, names, numbers, dates, plans and wishes. Leave out small talk. Write only the notes."
)


class Summary:
    bounded, outside = True, False

    def __init__(self, budget: int, count: Count, voice: Voice) -> None:
        self._half, self._count, self._voice = budget // 2, count, voice
        self._notes = ""
        self._since: list[tuple[int, Message]] = []
        self._heard = 0

    async def hear(self, message: Message) -> None:
        self._since.append((self._heard, message))
        self._heard += 1
        if sum(self._count(f"{one.line}\n") for _, one in self._since) > self._half:
            await self._write()

    async def recall(self, question: str = "") -> Sequence[Held]:
        notes = [Held("system", text, None) for text in re.split(r"(?<=[.!?])\s+|\n+", self._notes) if text.strip()]
        return [*notes, *(Held(one.role, one.named, turn) for turn, one in self._since)]

    async def _write(self) -> None:
        """The last line stays verbatim only if it fits by itself."""
        lines = "\n".join(message.line for _, message in self._since)
        told = f"{_ASKED}\n\nNotes:\n{self._notes or 'none yet'}\n\nSaid since:\n{lines}"
        notes = await self._voice.say([Turn("user", told)], tokens=self._half)
        while self._count(notes) > self._half:
            notes = notes.rsplit(maxsplit=max(1, (self._count(notes) - self._half) // 2))[0]
        self._notes, self._since = notes, []
