"""Conversing: a reply within a conversation that is kept by name. What was asked and said is in it before the last word
is given."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from anubhav.flows.chat import Reply
from anubhav.flows.house import House
from anubhav.serving.streams import Piece
from anubhav.types.talks import Entry

Noted = Callable[[Sequence[Piece]], Sequence[Entry]]
"""What was asked and what was said, as entries."""


def follow(house: House, tenant: str, talk: str, reply: Reply, noted: Noted) -> Reply:
    """The reply; it ends only when what it brings is in the conversation."""
    return replace(reply, pieces=_followed(house, tenant, talk, reply.pieces, noted))


async def _followed(
    house: House, tenant: str, talk: str, pieces: AsyncGenerator[Piece], noted: Noted
) -> AsyncGenerator[Piece]:
    heard: list[Piece] = []
    async with aclosing(pieces) as stream:
        async for piece in stream:
            heard.append(piece)
            if piece.stop_reason is not None:
                await house.talks.add(tenant, talk, noted(heard))
            yield piece
