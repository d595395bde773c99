"""Writing: passages of a memory shortened by a served model, the base or a refiller that was taught to."""

import logging
from collections.abc import Sequence

from anubhav.errors import AnubhavError
from anubhav.flows.house import House
from anubhav.memory.filler import Filler
from anubhav.memory.refill import Rewrite
from anubhav.serving.voices import Voice
from anubhav.types.sampling import Priority, SampleRequest, SamplingParams

HOUSE = "anubhav"
"""Whose the refillers are: the house's own, as candidates of laps are."""
log = logging.getLogger(__name__)


async def writer_of(house: House, tenant: str, base_model: str, path: str) -> Rewrite | None:
    """What writes for memories of this model with the refiller of this `tinker://` path; None: it is another model's.

    Raises NotFound where its checkpoint is gone. What it writes never raises: a version that cannot be had is empty.
    """
    voice = await house.voices.of_path(HOUSE, path)
    # Several names may share one model.
    if house.renderers[voice.base_model] is not house.renderers[base_model]:
        return None
    fill = filler_of(house, tenant, voice)

    async def rewrite(before: str, chunk: str, after: str, budget: int) -> str:
        try:
            # Without its neighbours: so it was taught and examined.
            return await fill("", chunk, "", budget)
        except AnubhavError as problem:
            log.warning("%s wrote nothing: %s", path, problem)
            return ""

    return rewrite


def filler_of(house: House, tenant: str, voice: Voice, priority: Priority = "interactive") -> Filler:
    renderer = house.renderers[voice.base_model]

    async def complete(prompt: Sequence[int], tokens: int) -> str:
        params = SamplingParams(tokens, 0.0, stop_tokens=renderer.stop_tokens)
        (text,) = await write(house, tenant, voice, prompt, params, priority=priority)
        return text

    return Filler(complete, renderer)


async def write(
    house: House,
    tenant: str,
    voice: Voice,
    prompt: Sequence[int],
    params: SamplingParams,
    *,
    tries: int = 1,
    priority: Priority = "interactive",
) -> list[str]:
    """What the voice writes, without the token that ended it."""
    renderer = house.renderers[voice.base_model]
    request = SampleRequest(tuple(prompt), params, voice.adapter, tries, priority=priority, tenant=tenant)
    tokens: list[list[int]] = [[] for _ in range(tries)]
    async for event in house.voices.sample(voice, request):
        tokens[event.index] += event.tokens
    return [renderer.decode([one for one in said if one not in renderer.stop_tokens]) for said in tokens]
