"""Many corrections, a lap each: what was once put right stays right, or the lap that would undo it is refused."""

from pathlib import Path

import msgspec
import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.flows import gating
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.probing import measure
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.learning.presets import Preset, Recipe
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.experience import Verdict
from anubhav.types.models import Model

QUICK = Preset(
    imitation=Recipe(steps=10, learning_rate=0.17, warmup=1),
    preference=Recipe(steps=2, learning_rate=0.1, warmup=1),
    policy=Recipe(steps=2, learning_rate=0.1, warmup=1),
    anchor_tokens=8,
)
LAPS = 12


async def correct(house: House, text: str, answer: str) -> None:
    reply = await begin(house, "ada", Question("default", (Message("user", text),), 1, 4, 0.0, user="bo"))
    async for _ in reply.pieces:
        pass
    [receipt] = await react(house, "ada", [Given(reply.id, "correction", text=answer)])
    assert receipt.status == "accepted"


async def lap(house: House) -> Verdict:
    done = await house.laps.wait(await start_lap(house, "default", "ada", QUICK))
    assert done.state == "done", done
    _, evidence = await house.laps.find(done.id)
    assert evidence
    return msgspec.json.decode(evidence, type=Verdict)


@pytest.mark.timeout(900)
async def test_earlier_repairs_are_kept_or_the_lap_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The general guards take most of the time, and stop this table before repairs come into it.
    monkeypatch.setattr(gating, "guard", tuple)
    write_model(tmp_path / "tiny")
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    async with build(settings, {"tiny": model}) as (house, _):
        accepted = 0
        for number in range(LAPS):
            before = await house.voices.resolve("anubhav", "default@stable")
            earlier = await house.probes.repairs("default")
            await correct(house, f"What is thing {number}?", f"{chr(65 + number % 26)}{number}.")
            verdict = await lap(house)
            after = await house.voices.resolve("anubhav", "default@stable")
            if verdict.outcome != "pass":
                assert after == before
                continue
            accepted += 1
            # Not what the verdict says: both voices are asked again for all that was ever accepted.
            house.heard.forget([probe.id.partition(":")[0] for probe in earlier])
            scores = await measure(house, earlier, before, after)
            held = [one for one in scores if one.incumbent]
            assert sum(not one.candidate for one in held) <= 0.05 * len(held)
        assert accepted >= 5
        assert len(await house.probes.repairs("default")) >= accepted
