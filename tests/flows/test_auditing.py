"""The audit critic's word counts where it proved itself, on prompts that no lap learned from; else it says why not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from fake_model import write_model

from anubhav.app import build
from anubhav.episodes.recorder import Given
from anubhav.flows.auditing import audit
from anubhav.flows.chat import begin
from anubhav.flows.house import House
from anubhav.flows.questions import Question
from anubhav.flows.react import react
from anubhav.flows.sealing import seal
from anubhav.gates.heldout import is_held_out
from anubhav.settings import Settings
from anubhav.types.chat import Message
from anubhav.types.models import Model
from anubhav.types.rewards import Estimate

LIKED = {f"Question {number}?": number % 2 == 0 for number in range(48)}


class Words:
    """Stands in for the audit critic, which is tested in the rewards room: it knows what is liked, or has it wrong."""

    def __init__(self, likes: dict[tuple[int, ...], bool], *, right: bool, ready: bool = True) -> None:
        self._likes, self._right, self._ready = likes, right, ready

    async def ready(self, _alias: str) -> bool:
        return self._ready

    async def score(self, _alias: str, _base: str, items: Sequence[tuple[tuple[int, ...], object]]) -> list[Estimate]:
        return [Estimate(0.5 if self._likes[prompt] == self._right else -0.5, 0.1) for prompt, _ in items]


async def say(house: House, text: str) -> str:
    reply = await begin(house, "ada", Question("default", (Message("user", text),), 1, 3, 0.0, user="bo"))
    async for _ in reply.pieces:
        pass
    return reply.id


async def test_it_judges_by_held_out_prompts_when_it_agrees_with_people_and_says_why_when_not(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    async with build(settings, {"tiny": model}) as (house, _):
        render = house.renderers["tiny"].render
        likes = {render((Message("user", text),)): liked for text, liked in LIKED.items()}
        voice = await house.voices.resolve("anubhav", "default@stable")
        for number, (text, liked) in enumerate(LIKED.items()):
            name = await say(house, text)
            if number < 24:
                await react(house, "ada", [Given(name, "thumb", float(liked))])
        sealed = await seal(house, "default", voice)
        taught = {one.episode for each in (*sealed.plan.likings, *sealed.plan.rated) for one in each.origins}
        learned = {one.prompt_tokens for one in await house.recorder.asked("default", 200) if one.id in taught}
        apart = {tokens for tokens in likes if is_held_out(tokens)}
        assert learned
        assert 1 <= len(apart - learned) <= 16
        assert not apart & {one.tokens for one in sealed.plan.prompts}, "nothing held out is practised"

        house.critic.audit = cast(Any, Words(likes, right=True))
        scores, notes = await audit(house, "default", sealed, voice, voice)
        assert notes == []
        names = {
            f"{one.id}:audit"
            for one in await house.recorder.asked("default", 200)
            if one.prompt_tokens in apart - learned
        }
        assert {one.probe for one in scores} == names
        assert {one.candidate - one.incumbent for one in scores} == {0.0}

        house.critic.audit = cast(Any, Words(likes, right=False))
        scores, [note] = await audit(house, "default", sealed, voice, voice)
        assert scores == []
        assert "not judged, it agrees with 0 of 24" in note
        house.critic.audit = cast(Any, Words(likes, right=True, ready=False))
        scores, [note] = await audit(house, "default", sealed, voice, voice)
        assert scores == []
        assert "held-out raters have said too little" in note
