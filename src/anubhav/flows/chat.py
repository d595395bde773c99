"""Chat: messages → tokens → a voice fixed for this reply → text, and an episode before the last word is given.

With a memory the messages are those of its prompt, and the reply is remembered before the last word as well.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from anubhav.errors import AnubhavError
from anubhav.flows.continuing import name_calls
from anubhav.flows.failing import fail, watched
from anubhav.flows.hinting import take_hint
from anubhav.flows.house import House
from anubhav.flows.questions import Question, params_of
from anubhav.flows.remembering import Asking, Remembered, keep, recall
from anubhav.flows.tracing import traced
from anubhav.rendering.sight import check_sight
from anubhav.rendering.speech.offering import offered
from anubhav.serving.bending import check_bends
from anubhav.serving.streams import Piece, room_after, speak
from anubhav.serving.voices import Voice
from anubhav.telemetry.notes import note
from anubhav.types.chat import NOTHING
from anubhav.types.experience import Arm, Choice, Episode
from anubhav.types.ids import new_id
from anubhav.types.releases import Asked
from anubhav.types.remembering import MemoryUse
from anubhav.types.sampling import SampleRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply under way. `pieces` is read once; its episode is recorded just before it ends."""

    id: str
    voice: Voice
    prompt_tokens: tuple[int, ...]
    pieces: AsyncGenerator[Piece]
    memory: str | None = None
    """`<id>@<version>` of what is remembered in the prompt."""
    clamped: int | None = None
    """How many tokens it may have, where more were asked for than fit."""


async def begin(house: House, tenant: str, question: Question) -> Reply:
    """Raises NotFound for an unknown model and BadInput for a prompt that does not fit, before anything is sampled."""
    await house.voices.meter.admit(tenant)
    arm, voice = await _voice(house, tenant, question)
    renderer, model = house.renderers[voice.base_model], house.models[voice.base_model]
    check_sight(question.messages, model)
    name = new_id("ep")
    note(model=voice.name, episode=name)
    found = await recall(house, tenant, _asking(question, question.memory, voice, name)) if question.memory else None
    prompt = renderer.render(found.messages if found else question.messages, settings=question.settings)
    room, tools = room_after(prompt, model), offered(question.messages)
    params = params_of(question, renderer, prompt, room)
    await check_bends(params, model)
    request = SampleRequest(
        prompt, params, voice.adapter, question.n, top_logprobs=question.top_logprobs, tenant=tenant
    )
    stream = speak(
        house.voices, voice, request, renderer, question.stop,
        lambda index: renderer.listener(prompt, tools, name_calls(name, index)),
    )  # fmt: skip
    if question.kept:  # what is not kept when it goes well is not counted when it does not
        stream = watched(house, voice.name, arm, _cause(tenant, question), stream)
    clamped = room if (question.max_tokens or 0) > room else None
    reply = Reply(name, voice, prompt, stream, found.name if found else None, clamped)
    pieces = _recorded(house, request, question, arm, reply, found)
    return replace(reply, pieces=traced(name, voice, request, question.session, pieces))


async def _voice(house: House, tenant: str, question: Question) -> tuple[Arm, Voice]:
    """Who is to hear a candidate that cannot be found hears the release, which no comparison counts then."""
    arm, name = await house.trials.place(question.model, tenant, question.user or question.session)
    try:
        return arm, await house.voices.resolve(tenant, name)
    except AnubhavError as problem:
        if arm != "canary":
            raise
        if question.kept:
            await fail(house, question.model, arm, _cause(tenant, question), problem)
    return "asked", await house.voices.resolve(tenant, question.model)


async def _recorded(
    house: House,
    request: SampleRequest,
    question: Question,
    arm: Arm,
    reply: Reply,
    found: Remembered | None,
) -> AsyncGenerator[Piece]:
    """Every piece as it comes; the one that ends the last choice only after the episode is safe."""
    voice, tenant, kept = reply.voice, request.tenant, None
    started, waited = time.time(), None
    heard: list[list[Piece]] = [[] for _ in range(question.n)]
    left = question.n
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            waited = time.time() - started if waited is None else waited
            heard[piece.index].append(piece)
            left -= piece.stop_reason is not None
            if not left and question.kept:
                episode = Episode(
                    reply.id, tenant, voice.name, voice.base_model, voice.adapter,
                    found.messages if found else question.messages, reply.prompt_tokens,
                    tuple(map(_choice, heard)), question.temperature, started, time.time() - started,
                    question.session, user=question.user, turn=question.turn, arm=arm, trainable=question.trainable,
                    waited=waited, memory=reply.memory,
                )  # fmt: skip
                kept = await house.recorder.record(episode)
                if kept.trainable and kept.turn == "main":
                    house.critic.remember(kept)
                    await take_hint(house, replace(kept, messages=question.messages) if found else kept)
                said = sum((one.heard for one in heard[0]), NOTHING)
                if found and not said.calls:  # a turn that calls tools is not over: the next request brings it
                    await keep(house, found, tenant, said.content)
            yield piece
    if kept and kept.trainable and kept.turn == "main" and arm == "stable":
        house.trials.shadows.offer(Asked(reply.id, voice.name, request, question.stop))


def _cause(tenant: str, question: Question) -> tuple[object, ...]:
    return tenant, question.user or question.session, question.messages


def _asking(question: Question, use: MemoryUse, voice: Voice, episode: str) -> Asking:
    writes = question.kept and question.turn == "main"
    return Asking(use, question.messages, voice.base_model, episode, question.session, question.user, writes)


def _choice(pieces: list[Piece]) -> Choice:
    return Choice(
        tuple(token for piece in pieces for token in piece.tokens),
        tuple(logprob for piece in pieces for logprob in piece.logprobs),
        "".join(piece.text for piece in pieces),
        pieces[-1].stop_reason or "length",
    )
