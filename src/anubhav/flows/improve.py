"""Improve: one lap of learning. `run_lap` reads like its own summary."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from anubhav.episodes.recorder import STAGE
from anubhav.errors import AnubhavError, BadInput
from anubhav.flows.gating import find_verdict, keep_repairs, probes_for
from anubhav.flows.house import House
from anubhav.flows.lessons import Pace, recipe, teach
from anubhav.flows.sealing import Sealed, seal
from anubhav.flows.trying import choose_action, let_go
from anubhav.learning.presets import Preset
from anubhav.serving.voices import Voice
from anubhav.telemetry.metrics import count_lap
from anubhav.training.client import RunClient
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Lap, Release, Verdict
from anubhav.types.ids import new_id

TENANT = "anubhav"
"""Whose the candidates are: the house's own. Aliases lend them to everybody."""
log = logging.getLogger(__name__)


async def start_lap(house: House, alias: str, who: str, preset: Preset | None = None) -> Lap:
    """Begin a lap in the background, by the recipe for the model's size unless another one is given.

    Raises BadInput when there is nothing to learn from or learning is on hold, Busy while one runs.
    """
    if alias in house.models or "@" in alias or "tinker://" in alias:
        raise BadInput(f"{alias[:100]!r} is fixed; only an alias learns", hint="Ask for `default`, and teach that.")
    await house.holds.check()
    lap = house.laps.open(alias)
    try:
        incumbent = await house.voices.resolve(TENANT, f"{alias}@stable")
        sealed = await seal(house, alias, incumbent)
        if sealed.plan.empty:
            raise BadInput(
                f"There is nothing to learn from yet: no new feedback on {alias}",
                hint="Correct or rate some of its replies (POST /v1/feedback) first.",
            )
        chosen = preset or recipe(house, incumbent)
        await house.laps.start(lap, lambda lap: run_lap(house, lap, incumbent, sealed, who, chosen))
    except BaseException:
        house.laps.give_up(lap)
        raise
    return lap


async def begin_again(house: House, cut: Sequence[Lap]) -> None:
    """Laps that a crash cut short, from the start: what they were to learn from is unread still."""
    for lap in cut:
        try:
            await start_lap(house, lap.alias, "anubhav")
        except AnubhavError as problem:
            log.warning("%s is not begun again: %s", lap.id, problem)
        except Exception:  # whatever is wrong with a lap, the server has to come up
            log.exception("%s is not begun again", lap.id)


async def run_lap(house: House, lap: Lap, incumbent: Voice, sealed: Sealed, who: str, preset: Preset) -> None:
    """Fresh feedback → candidate → verdict → release. A crash anywhere before the last line leaves it all unread."""
    origin = incumbent.path or preset.spec
    candidate = await RunClient.start(house.desk, TENANT, incumbent.base_model, origin, tag=lap.id)
    try:
        pace = Pace(trained=lambda _: house.laps.breathe(lap))
        await teach(house, lap, candidate, incumbent, sealed.plan, preset, pace)
        await house.laps.tell(lap, "saving")
        checkpoint = await candidate.save(lap.id, "weights")
    finally:
        await candidate.end()
    probes = await probes_for(house, lap, sealed)
    await house.laps.tell(lap, "judging", probes=len(probes))
    voice = await house.voices.of_path(TENANT, str(checkpoint.path))
    verdict = await find_verdict(house, lap, sealed, probes, incumbent, voice)
    await house.laps.breathe(lap)
    await settle(house, lap, sealed, checkpoint, verdict, who)
    if verdict.outcome != "pass":
        await house.desk.checkpoints.delete(TENANT, str(checkpoint.path))


async def settle(house: House, lap: Lap, sealed: Sealed, checkpoint: Checkpoint, verdict: Verdict, who: str) -> None:
    """Release or discard, close the lap and move the cursor in one transaction.

    Inconclusive holds: the feedback stays unread, so the next lap learns from it together with what comes, unless a
    lap cannot read more than it did.
    """
    action = await choose_action(house, lap.alias, verdict)
    summary = msgspec.to_builtins(replace(verdict, scores=()))
    path = str(checkpoint.path)
    release = Release(
        new_id("rel"), lap.alias, path, checkpoint.adapter, action, who, verdict.reason, time.time(), lap.id, summary
    )
    report = {**house.laps.report(lap), "verdict": summary, "release": release.id, "span": sealed.span}
    done = replace(lap, state="done", phase="done", report=report, finished_at=time.time())
    read = verdict.outcome != "inconclusive" or sealed.full
    evidence = msgspec.json.encode(verdict).decode()
    await keep_repairs(house, lap.alias, sealed, verdict)
    await house.register.settle(release, done, evidence, (STAGE, sealed.span[1]) if read else None)
    count_lap(verdict.outcome)
    house.laps.pass_on(done, _measured(verdict), ended=True)
    await let_go(house, lap.alias)


def _measured(verdict: Verdict) -> dict[str, object]:
    """Both policies on each suite, and whether the lap passed."""
    suites: dict[str, object] = {
        one.suite: {"incumbent": one.incumbent, "candidate": one.candidate, "difference": one.difference}
        for one in verdict.comparisons
    }
    return {"passed": verdict.outcome == "pass", **suites}
