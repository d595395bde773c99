"""Verdicts as people look at them: suite by suite, with some of what both voices said."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from anubhav.errors import NotFound
from anubhav.flows.house import House
from anubhav.gates.evidence import examples
from anubhav.gates.probes import guard
from anubhav.types.experience import Lap, Verdict


@dataclass(frozen=True, slots=True)
class Told:
    lap: Lap
    verdict: Verdict
    """Without its scores."""
    examples: tuple[Mapping[str, Any], ...]
    """Of each suite, the prompts that got better most and those that got worse most."""


async def look_up(house: House, lap: str) -> Told:
    """Raises NotFound for a lap without a verdict. What is sealed is in the examples: they are for judges alone."""
    found, evidence = await house.laps.find(lap)
    if not evidence:
        raise NotFound(f"The lap {lap[:100]} has no verdict", hint="It runs still, or failed: GET /v1/laps tells.")
    verdict = msgspec.json.decode(evidence, type=Verdict)
    known = [*guard(), *await house.probes.of(found.alias), *await house.probes.repairs(found.alias)]
    shown = examples(verdict.scores, {probe.id: probe for probe in known})
    return Told(found, replace(verdict, scores=()), tuple(shown))
