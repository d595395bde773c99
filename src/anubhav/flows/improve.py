"""Improve: one lap of learning. `run_lap` reads like its own summary."""

import time
from dataclasses import replace

import msgspec

from anubhav.episodes.recorder import STAGE
from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.flows.lessons import teach
from anubhav.flows.probing import measure
from anubhav.flows.sealing import Sealed, seal
from anubhav.gates.judge import judge
from anubhav.gates.probes import guard
from anubhav.learning.presets import PRESET, Preset
from anubhav.serving.voices import Voice
from anubhav.training.client import RunClient
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Lap, Release, Verdict
from anubhav.types.ids import new_id

TENANT = "anubhav"
"""Whose the candidates are: the house's own. Aliases lend them to everybody."""


async def start_lap(house: House, alias: str, who: str) -> Lap:
    """Begin a lap in the background. Raises BadInput when there is nothing to learn from, Busy while one runs."""
    sealed = await seal(house, alias)
    if sealed.plan.empty:
        raise BadInput(
            f"There is no new feedback on {alias}",
            hint="Correct or rate some of its replies (POST /v1/feedback) first.",
        )
    lap = await house.laps.open(alias)
    house.laps.start(lap, run_lap(house, lap, sealed, who, PRESET))
    return lap


async def run_lap(house: House, lap: Lap, sealed: Sealed, who: str, preset: Preset) -> None:
    """Fresh feedback → candidate → verdict → release. A crash anywhere before the last line leaves it all unread."""
    incumbent = await house.voices.resolve(TENANT, f"{lap.alias}@stable")
    candidate = await RunClient.start(
        house.desk, TENANT, incumbent.base_model, incumbent.path or preset.spec, tag=lap.id
    )
    try:
        await teach(house, lap, candidate, incumbent, sealed.plan, preset)
        await house.laps.tell(lap, "saving")
        checkpoint = await candidate.save(lap.id, "weights")
    finally:
        await candidate.end()
    await house.laps.tell(lap, "judging", probes=len(sealed.probes) + len(guard()))
    voice = await house.voices.of_path(TENANT, str(checkpoint.path))
    verdict = judge(await measure(house, (*sealed.probes, *guard()), incumbent, voice))
    await settle(house, lap, sealed, checkpoint, verdict, who, incumbent)


async def settle(
    house: House, lap: Lap, sealed: Sealed, checkpoint: Checkpoint, verdict: Verdict, who: str, incumbent: Voice
) -> None:
    """Release or discard, close the lap and move the cursor in one transaction.

    Inconclusive holds: the feedback stays unread, so the next lap learns from it together with what comes.
    """
    promoted = verdict.outcome == "pass"
    path = str(checkpoint.path) if promoted else incumbent.path
    summary = msgspec.to_builtins(replace(verdict, scores=()))
    release = Release(
        new_id("rel"),
        lap.alias,
        path,
        checkpoint.adapter if promoted else incumbent.adapter,
        "promote" if promoted else "discard",
        who,
        verdict.reason,
        time.time(),
        lap.id,
        summary,
    )
    report = {**house.laps.report(lap), "verdict": summary, "release": release.id, "candidate": str(checkpoint.path)}
    done = replace(lap, state="done", phase="done", report=report, finished_at=time.time())
    cursor = None if verdict.outcome == "inconclusive" else (STAGE, sealed.position)
    await house.register.settle(release, done, msgspec.json.encode(verdict).decode(), cursor)
