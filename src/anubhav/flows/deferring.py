"""Deferring: a reply that is said with nobody waiting for it, found again by its name, and taken back."""

import time
from collections.abc import Callable
from contextlib import aclosing

from anubhav.errors import NotFound
from anubhav.flows.chat import Reply
from anubhav.flows.continuing import Told, find_told
from anubhav.flows.house import House
from anubhav.types.talks import Deferred


async def defer(house: House, tenant: str, reply: Reply) -> Deferred:
    """Returns once it is kept that it will be said."""

    async def say(begun: Callable[[], None]) -> None:
        async with aclosing(reply.pieces) as pieces:
            async for _ in pieces:
                begun()

    one = Deferred(reply.id, tenant, reply.voice.name, time.time())
    await house.later.begin(one, say)
    return one


async def look_up(house: House, tenant: str, name: str) -> tuple[Deferred | None, Told | None]:
    """How far a deferred reply is, None for one that was waited for; and what was said, None until it is whole.

    Raises NotFound for a name of neither.
    """
    one = await house.later.find(tenant, name)
    if one and one.state != "completed":
        return one, None
    return one, await find_told(house, tenant, name)


async def forget(house: House, tenant: str, name: str) -> None:
    """A reply goes with the feedback on it, and is not said further. Raises NotFound."""
    dropped = await house.later.drop(tenant, name)
    gone = await house.people.forget(tenant, name)
    if not dropped and not gone:
        raise NotFound(f"There is no reply {name[:100]!r}", hint="Use the id of a reply this server gave you.")
    await house.critic.forget([], [name])
    house.heard.forget([name])
