"""The filler: a masked chunk is written anew by the model, between its neighbours, within a hard number of tokens.

Fill-in-the-middle by instruction: small chat models have no tokens for it, so a few examples in a chat show what is
wanted. What it writes is a proposal; `refill.verify` decides.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from anubhav.memory.words import split
from anubhav.rendering.renderer import Renderer
from anubhav.types.chat import Message

Complete = Callable[[Sequence[int], int], Awaitable[str]]
"""(prompt tokens, most tokens of the answer) → its text, at temperature 0, up to the model's stop tokens."""

_TASK = (
    "Shorten the note. Keep every name, number and fact. Use only words of the note. Answer with the short note only."
)
_EXAMPLES = (
    (
        "Hey! Yeah, so I went to see the doctor yesterday and she told me that I should really stop eating peanuts.",
        "went to doctor yesterday, she told me stop eating peanuts",
    ),
    (
        "Well, I think we will probably take the 7:40 train to Lyon together with Marta, which is going to be fun!",
        "take 7:40 train to Lyon with Marta, fun",
    ),
)
_NEIGHBOUR = 24
"""Words of a neighbour that are shown."""


@dataclass(frozen=True, slots=True)
class Filler:
    """A `refill.Rewrite`."""

    complete: Complete
    renderer: Renderer

    async def __call__(self, before: str, chunk: str, after: str, budget: int) -> str:
        """The first line of what the model writes in at most `budget` tokens."""
        text = await self.complete(ask(self.renderer, before, chunk, after), budget)
        return text.strip().split("\n")[0].strip()


def ask(renderer: Renderer, before: str, chunk: str, after: str) -> tuple[int, ...]:
    """The prompt's tokens."""
    messages = [Message("system", _TASK)]
    for note, short in _EXAMPLES:
        messages += [Message("user", _ask("", note, "")), Message("assistant", short)]
    head, tail = split(before)[-_NEIGHBOUR:], split(after)[:_NEIGHBOUR]
    return renderer.render([*messages, Message("user", _ask(" ".join(head), chunk, " ".join(tail)))])


def _ask(before: str, note: str, after: str) -> str:
    parts = (("Before it", before), ("Note", note), ("After it", after))
    return "\n".join(f"{name}: {text}" for name, text in parts if text)
