"""Judging: a model of the house, or any other OpenAI-compatible one, votes on recorded answers, as hearsay."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx2

from anubhav.errors import BadInput, Unavailable
from anubhav.flows.house import House
from anubhav.rewards.judges import CRITIQUE, agreed, ask_better, ask_score, conversation, read_score
from anubhav.types.chat import Message
from anubhav.types.experience import Episode
from anubhav.types.sampling import SampleRequest, SamplingParams

TENANT = "anubhav"
_REPLY_TOKENS = 16
_AT_ONCE = 4
_SECONDS = 60.0

Ask = Callable[[Sequence[Message]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Judge:
    name: str
    model: str
    base_url: str | None = None
    """Of a server that speaks OpenAI's API, `https://…/v1`; None is this house."""
    api_key: str = ""
    """Used for these calls and kept nowhere."""
    rubric: str = CRITIQUE


@dataclass(frozen=True, slots=True)
class Outcome:
    asked: int
    voted: int
    unread: int
    """Replies that were not what was asked for, or that differed by the order of a pair: no vote."""


async def judge(house: House, alias: str, by: Judge, limit: int) -> Outcome:
    """Let a judge vote on an alias's last answers, each choice once; pairs of choices are compared as well.

    Raises NotFound for a model that is not here, Unavailable when the remote one does not answer.
    """
    episodes = await house.hearsay.judged(alias, limit)
    if by.base_url:
        async with httpx2.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
            outcome = await _judge_all(house, by, episodes, _remote(client, by))
    else:
        outcome = await _judge_all(house, by, episodes, _local(house, by))
    house.critic.nudge(alias)
    return outcome


async def _judge_all(house: House, by: Judge, episodes: Sequence[Episode], ask: Ask) -> Outcome:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(episode: Episode) -> list[bool]:
        async with gate:
            return await _judge_one(house, by, episode, ask)

    voted = [vote for votes in await asyncio.gather(*map(one, episodes)) for vote in votes]
    return Outcome(len(voted), sum(voted), len(voted) - sum(voted))


async def _judge_one(house: House, by: Judge, episode: Episode, ask: Ask) -> list[bool]:
    """Whether each question asked led to a vote."""
    question, votes = conversation(episode.messages), list[bool]()
    for place, choice in enumerate(episode.choices):
        value = read_score(await ask(ask_score(by.rubric, question, choice.text).messages))
        votes.append(value is not None)
        if value is not None:
            await house.hearsay.scored(by.name, episode, place, value)
    if len(episode.choices) > 1:
        first, second = episode.choices[0].text, episode.choices[1].text
        straight = await ask(ask_better(by.rubric, question, first, second).messages)
        swapped = await ask(ask_better(by.rubric, question, second, first).messages)
        better = agreed(straight, swapped)
        votes.append(better is not None)
        if better is not None:
            await house.hearsay.preferred(by.name, episode, *((0, 1) if better else (1, 0)))
    return votes


def _local(house: House, by: Judge) -> Ask:
    async def ask(messages: Sequence[Message]) -> str:
        voice = await house.voices.resolve(TENANT, by.model)
        renderer = house.renderers[voice.base_model]
        prompt = renderer.render(messages)
        room = house.models[voice.base_model].context_length - len(prompt)
        if room <= _REPLY_TOKENS:
            return ""  # too long for this judge: no vote
        params = SamplingParams(_REPLY_TOKENS, 0.0, stop_tokens=renderer.stop_tokens)
        request = SampleRequest(prompt, params, voice.adapter, priority="training", tenant=TENANT)
        said = [token async for event in house.voices.sample(voice, request) for token in event.tokens]
        return renderer.decode(said)

    return ask


def _remote(client: httpx2.AsyncClient, by: Judge) -> Ask:
    base = (by.base_url or "").rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise BadInput("A judge's base_url begins with http:// or https://", hint="Give it as https://…/v1.")

    async def ask(messages: Sequence[Message]) -> str:
        body = {
            "model": by.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "temperature": 0,
            "max_tokens": _REPLY_TOKENS,
        }
        headers = {"authorization": f"Bearer {by.api_key}"} if by.api_key else {}
        try:
            response = await client.post(f"{base}/chat/completions", json=body, headers=headers)
            response.raise_for_status()
            said = response.json()["choices"][0]["message"]["content"]
        except (httpx2.HTTPError, ValueError, KeyError, IndexError, TypeError) as problem:
            raise Unavailable(
                f"The judge {by.name} does not answer as OpenAI's API does ({type(problem).__name__})",
                hint="Check its base_url, its model and its key.",
            ) from problem
        return said if isinstance(said, str) else ""

    return ask
