"""The whole lap over the fake backend: what people say changes what the alias says, if the gate lets it."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.errors import BadInput, Busy
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.improve import start_lap
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.learning.presets import Preset, Recipe
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.experience import Lap, Probe
from anubhav.types.models import Model

QUICK = Preset(
    imitation=Recipe(steps=10, learning_rate=0.17, warmup=1),
    preference=Recipe(steps=2, learning_rate=0.1, warmup=1),
    policy=Recipe(steps=6, learning_rate=0.5, warmup=1),
    anchor_tokens=8,
)
"""For a table that learns in a dozen steps."""
FACTS = {"How long?": "47 days.", "How much?": "6 euros.", "Who leads?": "Mirela."}


class Server:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = AsyncExitStack()
        write_model(folder / "tiny")

    async def start(self) -> House:
        model = Model("tiny", self._folder / "tiny", "Apache-2.0", "folder", 512, 258)
        settings = Settings(data_dir=self._folder / "data", models_dir=self._folder / "models")
        house, _ = await self._stack.enter_async_context(build(settings, {"tiny": model}))
        return house

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path)
    yield server
    await server.stop()


@pytest.fixture
async def house(server: Server) -> House:
    return await server.start()


async def ask(house: House, text: str, n: int = 1, temperature: float = 0.0, tokens: int = 12) -> tuple[str, list[str]]:
    """The reply's id and its texts."""
    question = Question("default", (Message("user", text),), n, tokens, temperature, seed=len(text))
    reply = await begin(house, "ada", question)
    texts = [""] * n
    async for piece in reply.pieces:
        texts[piece.index] += piece.text
    return reply.id, texts


async def lap(house: House, preset: Preset = QUICK) -> Lap:
    return await house.laps.wait(await start_lap(house, "default", "ada", preset))


async def correct(house: House, facts: dict[str, str]) -> None:
    given = [Given((await ask(house, text))[0], "correction", text=answer) for text, answer in facts.items()]
    assert [one.status for one in await react(house, "ada", given)] == ["accepted"] * len(facts)


async def test_corrections_change_the_reply_once_the_gate_has_passed_them(house: House) -> None:
    await correct(house, FACTS)
    done = await lap(house)
    assert (done.state, done.phase, done.report.get("failure")) == ("done", "done", None)
    verdict = msgspec.convert(done.report["verdict"], dict[str, object])
    assert verdict["outcome"] == "pass", verdict
    for text, answer in FACTS.items():
        assert (await ask(house, text))[1] == [answer]
    release = await house.register.current("default")
    assert release and (release.lap, release.action, release.who) == (done.id, "promote", "ada")
    _, evidence = await house.laps.find(done.id)
    assert len(msgspec.json.decode(evidence or "")["scores"]) >= 15 + 24
    assert (done.report["corrections"], done.report["pairs"]) == (3, 3)


async def test_what_a_lap_measured_is_in_files_of_its_own_and_of_its_run(house: House, tmp_path: Path) -> None:
    await correct(house, FACTS)
    done = await lap(house)
    await house.scribe.stop()
    metrics = tmp_path / "data" / "metrics"
    told = [json.loads(line) for line in (metrics / done.id / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told] == list(range(len(told)))
    assert {"imitating", "done"} <= {line["kind"] for line in told}
    assert told[-1]["passed"] == 1.0
    assert any(name.endswith("/difference") for name in told[-1])
    runs = [file.read_text().splitlines() for file in metrics.glob("ses_*/metrics.jsonl")]
    assert {json.loads(line)["kind"] for lines in runs for line in lines} == {"Compute", "Step"}


async def test_a_second_lap_starts_where_the_first_ended_and_a_rollback_takes_effect_at_once(house: House) -> None:
    before = {text: (await ask(house, text))[1] for text in FACTS}
    await correct(house, FACTS)
    await lap(house)
    await correct(house, {"Which tea?": "Ambermoss."})
    second = await lap(house)
    verdict = msgspec.convert(second.report["verdict"], dict[str, object])
    assert verdict["outcome"] == "pass", verdict
    assert (await ask(house, "Which tea?"))[1] == ["Ambermoss."]
    assert (await ask(house, "How long?"))[1] == ["47 days."]
    await house.register.rollback("default", "ada", "no tea")
    assert (await ask(house, "Which tea?"))[1] != ["Ambermoss."]
    assert (await ask(house, "How long?"))[1] == ["47 days."]
    await house.register.rollback("default", "ada", "nothing")
    assert {text: (await ask(house, text))[1] for text in FACTS} == before


async def test_thumbs_make_the_liked_answer_likelier_where_it_was_never_given(house: House) -> None:
    asked = {text: await ask(house, text, 16, 0.3, tokens=1) for text in ("One?", "Two??", "Three?", "Number four?")}
    said = Counter(one for _, texts in asked.values() for one in texts if one.isascii() and one)
    liked = said.most_common(1)[0][0]
    assert 1 < said[liked] < 64
    await house.probes.add(
        Probe(f"pr_{number}", "target-liked", "likelihood", (Message("user", text),), liked, "default")
        for number, text in enumerate(("Five?", "Six?", "Seven?", "Eight?", "Nine?", "Ten?"))
    )
    for name, texts in asked.values():
        given = [Given(f"{name}:{place}", "thumb", value=text == liked) for place, text in enumerate(texts)]
        await react(house, "ada", given)
    before = await house.baselines.expect("default")
    assert before < 0
    done = await lap(house)
    verdict = msgspec.convert(done.report["verdict"], dict[str, object])
    assert (verdict["outcome"], done.report["rated"]) == ("pass", 64), verdict
    _, texts = await ask(house, "Eleven?", 16, 0.3, tokens=1)
    assert texts.count(liked) > 16 * said[liked] / 64


async def test_a_poisoned_lap_is_refused_and_its_feedback_not_learned_later(house: House) -> None:
    await house.probes.add(
        Probe(f"pr_{number}", "target-facts", "likelihood", (Message("user", text),), answer, "default")
        for number, (text, answer) in enumerate({**FACTS, "Until when?": "47 days.", "What price?": "6 euros."}.items())
    )
    await correct(house, dict.fromkeys(FACTS, "qqqqqqqq"))
    poisoned = await lap(house)
    verdict = msgspec.convert(poisoned.report["verdict"], dict[str, object])
    assert verdict["outcome"] == "fail", verdict
    assert await house.register.current("default") is None
    assert [one.action for one in await house.register.history("default")] == ["discard"]
    assert not await house.desk.checkpoints.list("anubhav", None)
    with pytest.raises(BadInput, match="nothing to learn from"):
        await start_lap(house, "default", "ada")
    await correct(house, {"Which tea?": "Ambermoss."})
    assert (await lap(house)).report["corrections"] == 1
    assert "q" not in (await ask(house, "How long?"))[1][0]


async def test_there_is_nothing_to_learn_from_silence_nor_for_a_fixed_model(house: House) -> None:
    with pytest.raises(BadInput, match="nothing to learn from"):
        await start_lap(house, "default", "ada")
    with pytest.raises(BadInput, match="only an alias learns"):
        await start_lap(house, "tiny", "ada")
    # A lap that never began leaves the alias's turn free.
    await correct(house, FACTS)
    started = await start_lap(house, "default", "ada", QUICK)
    with pytest.raises(Busy, match=started.id):
        await start_lap(house, "default", "ada", QUICK)


async def test_a_lap_that_was_interrupted_is_begun_again_with_all_its_feedback(house: House, server: Server) -> None:
    await correct(house, FACTS)
    started = await start_lap(house, "default", "ada", QUICK)
    await server.stop()
    again = await server.start()
    assert (await again.laps.find(started.id))[0].state == "interrupted"
    assert await again.register.current("default") is None
    begun, _ = await again.laps.recent("default")
    assert (begun.state, begun.id != started.id) == ("running", True)
    assert (await again.laps.wait(begun)).report["corrections"] == 3
