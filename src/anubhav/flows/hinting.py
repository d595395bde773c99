"""Hinting: what a person does next says a little about the answer before, where an operator wants that to count."""

import logging

from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.rewards.hints import hint
from anubhav.types.experience import Episode

log = logging.getLogger(__name__)


async def take_hint(house: House, turn: Episode) -> bool:
    """Call with a turn that was recorded just now; whether it led to a weak vote on the one before. Never raises."""
    value = hint(turn.messages) if turn.session else None
    if turn.session is None or value is None:
        return False
    try:
        return await house.hearsay.implies(turn.alias) and await _keep(house, turn, turn.session, value)
    except AnubhavError as problem:
        # The answer matters more than what it implies.
        log.warning("what the turn %s implies was not kept: %s", turn.id, problem)
        return False


async def _keep(house: House, turn: Episode, session: str, value: float) -> bool:
    spoken = [message.content for message in turn.messages if message.role == "assistant"]
    before = await house.hearsay.before(turn.tenant, session, spoken[-1])
    if before is None or before.alias != turn.alias or before.turn != "main":
        return False
    kept = await house.hearsay.implied(before, value, turn.user)
    if kept:
        house.critic.nudge(turn.alias)
    return kept is not None
