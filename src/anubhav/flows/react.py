"""React: feedback is kept, then acknowledged; the running baseline takes one small step now, the critic one soon.

On a reply that remembered something it also says what was worth remembering.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from anubhav.episodes.recorder import Given
from anubhav.flows.house import House
from anubhav.flows.memory_lessons import take_note
from anubhav.flows.reviewing import look
from anubhav.types.experience import Feedback


@dataclass(frozen=True, slots=True)
class Receipt:
    id: str
    episode: str
    status: str
    """accepted, or repeated when this id was given before."""


async def react(house: House, tenant: str, given: Sequence[Given]) -> list[Receipt]:
    """All of it or none of it."""
    kept = await house.recorder.react(tenant, given)
    fresh: defaultdict[str, list[Feedback]] = defaultdict(list)
    for feedback, episode, status in kept:
        if status == "accepted":
            fresh[episode.alias].append(feedback)
            await take_note(house, feedback, episode)
    for alias, feedback in fresh.items():
        await house.baselines.observe(alias, feedback)
        house.critic.nudge(alias)
        await look(house, alias)
    return [Receipt(feedback.id, episode.id, status) for feedback, episode, status in kept]
