"""The lookout: the watch's figures and alarms about an alias, for whoever asks."""

import time
from dataclasses import dataclass

from anubhav.rewards.critic import Critic
from anubhav.rewards.watch import alarms, figures
from anubhav.types.rewards import Alarm


@dataclass(frozen=True, slots=True)
class Report:
    alias: str
    steps: int
    """Judgements learned from."""
    audited: int
    """Judgements of held-out raters, which the audit critic alone knows."""
    figures: dict[str, float]
    alarms: list[Alarm]


class Lookout:
    def __init__(self, critic: Critic) -> None:
        self._critic = critic

    async def alarms(self, alias: str) -> list[Alarm]:
        return (await self.report(alias)).alarms

    async def report(self, alias: str) -> Report:
        mind = await self._critic.mind(alias)
        if mind is None:
            return Report(alias, 0, 0, {}, [])
        return Report(alias, mind.steps, mind.audited, figures(mind.record), alarms(mind.record, time.time()))
