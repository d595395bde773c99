"""Accepted corrections guard later laps, and go with the person who gave them."""

import random
from pathlib import Path

import msgspec
from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.flows.chat import begin
from anubhav.flows.gating import _tested
from anubhav.flows.improve import start_lap
from anubhav.flows.people import erase
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.flows.sealing import seal
from anubhav.gates.spending import ALPHA, level
from anubhav.learning.presets import Preset, Recipe
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.experience import Probe
from anubhav.types.models import Model

QUICK = Preset(
    imitation=Recipe(steps=10, learning_rate=0.17, warmup=1),
    preference=Recipe(steps=2, learning_rate=0.1, warmup=1),
    policy=Recipe(steps=2, learning_rate=0.1, warmup=1),
    anchor_tokens=8,
)


def test_a_lap_that_a_guard_held_spends_nothing_and_one_whose_gain_was_tested_does() -> None:
    def told(target: str, guard: str) -> dict[str, object]:
        return {"comparisons": [{"suite": "target-x", "outcome": target}, {"suite": "guard-text", "outcome": guard}]}

    assert [_tested(told("pass", guard)) for guard in ("pass", "inconclusive", "fail")] == [True, False, False]
    assert [_tested(told(target, "pass")) for target in ("inconclusive", "fail")] == [True, True]


def test_with_doubtful_guards_laps_in_vain_are_promoted_no_oftener_than_the_bound_allows() -> None:
    """P-values of laps that change nothing; a guard holds most of them. Counted: loops with any promotion."""
    chance, loops, deceived = random.Random(3), 4000, 0
    for _ in range(loops):
        tested: list[bool] = []
        for _ in range(60):
            held, p = chance.random() < 0.6, chance.random()
            if not held:
                tested.append(p <= level(tested))
        deceived += any(tested)
    assert deceived / loops < ALPHA


async def test_a_repair_guards_the_next_lap_until_its_person_is_erased(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    async with build(settings, {"tiny": Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)}) as (
        house,
        _,
    ):

        async def correct(text: str, answer: str) -> None:
            question = Question("default", (Message("user", text),), 1, 12, 0.0, user="bo")
            reply = await begin(house, "ada", question)
            async for _ in reply.pieces:
                pass
            await react(house, "ada", [Given(reply.id, "correction", text=answer)])

        async def lap() -> dict[str, object]:
            done = await house.laps.wait(await start_lap(house, "default", "ada", QUICK))
            return msgspec.convert(done.report["verdict"], dict[str, object])

        await correct("How long?", "47 days.")
        assert (await lap())["outcome"] == "pass"
        [repair] = await house.probes.repairs("default")
        assert (repair.suite, repair.expected, repair.messages[0].content) == ("guard-repairs", "47 days.", "How long?")
        assert await house.probes.of("default") == [], "repairs guard; they are not what a lap aims at"
        await correct("Which tea?", "Ambermoss.")
        verdict = await lap()
        suites = {str(one["suite"]): one for one in msgspec.convert(verdict["comparisons"], list[dict[str, object]])}
        assert (suites["guard-repairs"]["held"], suites["guard-repairs"]["lost"]) == (1, 0)
        assert {"guard-safety", "guard-sycophancy", "guard-length"} <= set(suites)
        assert "not judged" in str(verdict["notes"])
        await house.probes.add(
            [Probe("pr_1", "target-x", "likelihood", (Message("user", "Planted?"),), "Zebra", "default")]
        )
        await correct("How old?", "Nine.")
        sealed = await seal(house, "default", await house.voices.resolve("anubhav", "default@stable"))
        assert "Planted?" not in repr(sealed.plan) and "Zebra" not in repr(sealed.plan)
        await erase(house, "ada", "bo", "ada")
        assert await house.probes.repairs("default") == []
