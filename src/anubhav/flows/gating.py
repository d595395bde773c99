"""Gating: a candidate is measured beside the incumbent on all that judges it, and a verdict is found."""

import asyncio
from collections.abc import Sequence

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
        one.lap: (one.verdict or {}).get("outcome") == "pass" for one in reversed(history) if one.lap and one.verdict
    }
    return await asyncio.to_thread(judge, [*scores, *lengths(scores), *audited], list(judged.values()), notes)


async def keep_repairs(house: House, alias: str, sealed: Sealed, verdict: Verdict) -> None:
    """The corrections of a lap that passed guard every later one. Before the release, so that none is lost between."""
    if verdict.outcome == "pass":
        await house.probes.add(
            repairs.repair(one.episode.id, number, alias, one.episode.messages, one.text)
            for number, one in enumerate(sealed.plan.corrections)
        )
