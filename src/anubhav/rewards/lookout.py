"""The lookout: the watch's figures and alarms about an alias, for whoever asks."""

import time
from dataclasses import dataclass, field

from anubhav.rewards.critic import AUDITED, Critic
from anubhav.rewards.curves import Curves, curves
from anubhav.rewards.mind import Mind
from anubhav.rewards.watch import Record, alarms, figures
from anubhav.types.rewards import Alarm, Rater


@dataclass(frozen=True, slots=True)
class Report:
    alias: str
    steps: int
    """Judgements learned from."""
    audited: int
    """Judgements of held-out raters, which the audit critic alone knows."""
    figures: dict[str, float]
    alarms: list[Alarm]
    audit_ready: bool = False
    """Whether held-out raters have said enough for the audit."""
    behind: int = 0
    """Judgements that were given and are not counted in any of this yet."""
    curves: Curves = field(default_factory=lambda: curves(Record()))


class Lookout:
    def __init__(self, critic: Critic) -> None:
        self._critic = critic

    async def alarms(self, alias: str) -> list[Alarm]:
        return (await self.report(alias)).alarms

    async def report(self, alias: str) -> Report:
        return _report(alias, await self._critic.mind(alias), 0)

    async def glance(self, alias: str) -> tuple[Report, list[Rater]]:
        """At once, however long the backlog; and the raters, who voted most first."""
        mind, behind = await self._critic.glance(alias)
        return _report(alias, mind, behind), mind.ledger.list() if mind else []


def _report(alias: str, mind: Mind | None, behind: int) -> Report:
    if mind is None:
        return Report(alias, 0, 0, {}, [], behind=behind)
    rung, told = alarms(mind.record, time.time()), figures(mind.record)
    return Report(alias, mind.steps, mind.audited, told, rung, mind.audited >= AUDITED, behind, curves(mind.record))
