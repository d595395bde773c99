"""Blocks: a reply as the row of thoughts, texts and calls that newer dialects stream: opened, filled and closed."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from anubhav.serving.streams import Piece
from anubhav.types.chat import Heard, ToolCall

Kind = Literal["thought", "text", "call"]


@dataclass(frozen=True, slots=True)
class Block:
    kind: Kind
    text: str = ""
    """The words; of a call its arguments."""
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the row; `block` is what the block at `index` has become."""

    act: Literal["open", "fill", "close"]
    index: int
    block: Block
    more: str = ""
    """What a filling adds."""


class Row:
    """The blocks of one reply as they grow. A call is whole at once."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._open = False

    def grow(self, heard: Heard) -> Iterator[Step]:
        for kind, text in (("thought", heard.reasoning), ("text", heard.content)):
            if text:
                yield from self._fill("thought" if kind == "thought" else "text", text)
        for call in heard.calls:
            yield from self._start(Block("call", call=call))
            yield from self._add(call.arguments)

    def close(self) -> Iterator[Step]:
        if self._open:
            self._open = False
            yield Step("close", len(self.blocks) - 1, self.blocks[-1])

    def _fill(self, kind: Kind, text: str) -> Iterator[Step]:
        if not self._open or self.blocks[-1].kind != kind:
            yield from self._start(Block(kind))
        yield from self._add(text)

    def _start(self, block: Block) -> Iterator[Step]:
        yield from self.close()
        self.blocks.append(block)
        self._open = True
        yield Step("open", len(self.blocks) - 1, block)

    def _add(self, text: str) -> Iterator[Step]:
        self.blocks[-1] = replace(self.blocks[-1], text=self.blocks[-1].text + text)
        yield Step("fill", len(self.blocks) - 1, self.blocks[-1], text)


@dataclass(frozen=True, slots=True)
class Whole:
    """A reply that has ended."""

    blocks: tuple[Block, ...]
    pieces: tuple[Piece, ...]

    @property
    def made(self) -> int:
        return sum(len(piece.tokens) for piece in self.pieces)

    @property
    def cached(self) -> int:
        return max((piece.cached for piece in self.pieces), default=0)

    @property
    def called(self) -> bool:
        return any(block.kind == "call" for block in self.blocks)

    @property
    def cut(self) -> bool:
        """It ended for want of room."""
        return bool(self.pieces) and self.pieces[-1].stop_reason == "length"


async def gather(pieces: AsyncGenerator[Piece]) -> Whole:
    found: list[Piece] = []
    async with aclosing(pieces) as stream:
        async for piece in stream:
            found.append(piece)
    return whole_of(found)


def whole_of(pieces: Iterable[Piece]) -> Whole:
    row, heard = Row(), list[Piece]()
    for piece in pieces:
        heard.append(piece)
        for _ in row.grow(piece.heard):
            pass
    return Whole(tuple(row.blocks), tuple(heard))
