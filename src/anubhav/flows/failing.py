"""Failing: a reply that ends in an error counts against the arm that gave it, for as long as something is tried out."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from anubhav.errors import AnubhavError, BadInput, Busy, NotAllowed, Spent
from anubhav.flows.house import House
from anubhav.serving.streams import Piece
from anubhav.types.experience import Arm

_THEIRS = (BadInput, Busy, NotAllowed, Spent)
"""What the client brought about, or so many clients."""
log = logging.getLogger(__name__)


async def watched(
    house: House, alias: str, arm: Arm, asked: object, pieces: AsyncGenerator[Piece]
) -> AsyncGenerator[Piece]:
    """The pieces as they are. An error that ends them counts against the arm; whoever hangs up is no error."""
    try:
        async with aclosing(pieces) as said:
            async for piece in said:
                yield piece
    except Exception as problem:
        await fail(house, alias, arm, asked, problem)
        raise


async def fail(house: House, alias: str, arm: Arm, asked: object, problem: Exception) -> None:
    """`asked`: by whom and what, as clients ask again for what went wrong. Never raises an error of ours."""
    if arm == "asked" or isinstance(problem, _THEIRS):
        return
    try:
        await house.trials.failed(alias, arm, repr(asked))
    except AnubhavError as trouble:
        log.warning("a failure of %s was not counted: %s", alias, trouble)
