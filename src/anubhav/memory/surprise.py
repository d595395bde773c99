"""Self-information: the frozen base's own surprise at each word, read after a few words of what came before."""

from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.memory.words import split
from anubhav.ports import Reader
from anubhav.rendering.renderer import Renderer


@dataclass(frozen=True, slots=True)
class Surprised:
    """Weigh, by the frozen base of one model."""

    reader: Reader
    renderer: Renderer
    tenant: str = ""
    context: int = 64
    """Tokens read before a text."""

    async def __call__(self, context: str, texts: Sequence[str]) -> list[tuple[float, ...]]:
        before = self.renderer.encode(f"{context}\n")[-self.context :]
        pieces = [[self.renderer.encode(f" {word}") for word in split(text)] for text in texts]
        items = [(before, tuple(token for word in words for token in word)) for words in pieces]
        read = await self.reader.surprise([item for item in items if item[1]], tenant=self.tenant)
        found = iter(read)
        return [_by_word(words, next(found)) if any(words) else () for words in pieces]


def _by_word(words: Sequence[Sequence[int]], nats: Sequence[float]) -> tuple[float, ...]:
    sums: list[float] = []
    at = 0
    for word in words:
        sums.append(sum(nats[at : at + len(word)]))
        at += len(word)
    return tuple(sums)
