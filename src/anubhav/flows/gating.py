"""Gating: a candidate is measured beside the incumbent on all that judges it, and a verdict is found."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from anubhav.flows.auditing import audit
from anubhav.flows.house import House
from anubhav.flows.probing import measure
from anubhav.flows.sealing import Sealed
from anubhav.gates import repairs
from anubhav.gates.judge import judge
from anubhav.gates.lengths import lengths
from anubhav.gates.probes import guard
from anubhav.serving.voices import Voice
from anubhav.types.experience import Lap, Probe, Verdict

_REMEMBERED = 1000
"""Releases and refusals that are looked back on for what successive laps may spend."""


async def probes_for(house: House, lap: Lap, sealed: Sealed) -> tuple[Probe, ...]:
    """What this lap's candidate is asked."""
    taught = frozenset(example.episode.messages for example in sealed.plan.corrections)
    kept = repairs.sample(await house.probes.repairs(lap.alias), taught, lap.id)
    return (*sealed.probes, *kept, *guard())


async def find_verdict(
    house: House, lap: Lap, sealed: Sealed, probes: Sequence[Probe], incumbent: Voice, candidate: Voice
) -> Verdict:
    scores = await measure(house, probes, incumbent, candidate)
    audited, notes = await audit(house, lap.alias, sealed, incumbent, candidate)
    history = await house.register.history(lap.alias, _REMEMBERED)
    # One entry a lap: one that passed may be on trial first and promoted later.
    judged = {
        one.lap: one.verdict.get("outcome") == "pass"
        for one in reversed(history)
        if one.lap and one.verdict and _tested(one.verdict)
    }
    return await asyncio.to_thread(judge, [*scores, *lengths(scores), *audited], list(judged.values()), notes)


def _tested(verdict: Mapping[str, object]) -> bool:
    """Whether a gain was tested. A lap that a guard held or failed could not be promoted, however small the p-value of
    its gain, so it spends nothing of what successive laps may spend; guards and targets have different items, so the
    p-values of the others are as valid as before."""
    comparisons = msgspec.convert(verdict.get("comparisons", []), list[dict[str, object]])
    guards = [one for one in comparisons if not str(one.get("suite", "")).startswith("target")]
    return all(one.get("outcome") == "pass" for one in guards)


async def keep_repairs(house: House, alias: str, sealed: Sealed, verdict: Verdict) -> None:
    """The corrections of a lap that passed guard every later one. Before the release, so that none is lost between."""
    if verdict.outcome == "pass":
        await house.probes.add(
            repairs.repair(one.episode.id, number, alias, one.episode.messages, one.text)
            for number, one in enumerate(sealed.plan.corrections)
        )
