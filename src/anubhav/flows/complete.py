"""Completion: raw text or tokens, continued as they are. Nothing is recorded: only conversations are learned from."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

from anubhav.flows.house import House
from anubhav.serving.bending import check_bends
from anubhav.serving.streams import Piece, room_after, speak
from anubhav.serving.voices import Voice
from anubhav.telemetry.notes import note
from anubhav.types.sampling import Grammar, SampleRequest, SamplingParams


@dataclass(frozen=True, slots=True)
class Passage:
    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    n: int
    """Continuations of each prompt."""
    max_tokens: int
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    prompt_logprobs: bool = False
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None


@dataclass(frozen=True, slots=True)
class Continuation:
    """The continuations of one prompt, not begun before `pieces` is read."""

    prompt: tuple[int, ...]
    pieces: AsyncGenerator[Piece]


async def begin(house: House, tenant: str, passage: Passage) -> tuple[Voice, tuple[Continuation, ...]]:
    """One for each prompt. Raises NotFound and BadInput before anything is sampled."""
    await house.voices.meter.admit(tenant)
    voice = await house.voices.resolve(tenant, passage.model)
    note(model=voice.name)
    renderer, model = house.renderers[voice.base_model], house.models[voice.base_model]
    prompts = [renderer.encode(prompt) if isinstance(prompt, str) else prompt for prompt in passage.prompts]
    rooms = [room_after(prompt, model) for prompt in prompts]

    params = SamplingParams(
        passage.max_tokens,
        passage.temperature,
        passage.top_k,
        passage.top_p,
        passage.seed,
        renderer.stop_tokens,
        passage.presence_penalty,
        passage.frequency_penalty,
        passage.logit_bias,
        passage.grammar,
    )
    await check_bends(params, model)

    def continued(prompt: tuple[int, ...], room: int) -> Continuation:
        request = SampleRequest(
            prompt,
            replace(params, max_tokens=min(passage.max_tokens, room)),
            voice.adapter,
            passage.n,
            prompt_logprobs=passage.prompt_logprobs,
            top_prompt_logprobs=passage.top_logprobs if passage.prompt_logprobs else 0,
            top_logprobs=passage.top_logprobs,
            tenant=tenant,
        )
        return Continuation(prompt, speak(house.voices, voice, request, renderer, passage.stop))

    return voice, tuple(map(continued, prompts, rooms))
