"""Shadowing: what people ask the release a candidate answers as well, unheard, before anybody hears it.

It speaks after the reply was given, one prompt at a time, in the rollouts' priority and on the house's own account:
nobody waits for it, and what goes wrong in it is its own.
"""

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import replace

from anubhav.errors import AnubhavError, Busy
from anubhav.flows.house import House
from anubhav.flows.reviewing import look
from anubhav.serving.streams import Piece, speak
from anubhav.types.experience import Choice, Episode
from anubhav.types.ids import new_id
from anubhav.types.releases import Asked, Pair, Said, Trial

_TENANT = "anubhav"
_PATIENCE = 300.0
"""Seconds a prompt may take in the shadow; what waits longer, on a busy machine, is left out."""
log = logging.getLogger(__name__)


async def keep_shadowing(house: House) -> None:
    """Answer what was asked while a trial is in the shadow, until it is cancelled."""
    while True:
        asked = await house.trials.shadows.next()
        try:
            if await answer(house, asked):
                await look(house, asked.alias)
        except Exception:
            log.exception("%s could not be answered in the shadow", asked.reply)


async def answer(house: House, asked: Asked) -> bool:
    """Let the candidate answer it too, and keep the pair.

    False where nothing is in the shadow, where the reply was erased or its person let us learn from it no longer, and
    where it took too long.
    """
    trial = await house.trials.shadows.wanted(asked.alias)
    given = await house.recorder.allowed(asked.reply) if trial else None
    if trial is None or given is None:
        return False
    shadow, error = None, ""
    try:
        async with asyncio.timeout(_PATIENCE):
            shadow = await _say(house, trial, asked, given)
    except (TimeoutError, Busy):
        log.info("%s took too long in the shadow", asked.reply)
        return False
    except Exception as problem:  # noqa: BLE001 - whatever ends it counts against the candidate
        error = f"{type(problem).__name__}: {problem}"[:300]
        log.warning("the candidate of %s failed in the shadow: %s", asked.alias, error)
    if shadow and (shadow := await house.recorder.beside(asked.reply, shadow)) is None:
        return False
    return await house.trials.shadows.keep(trial, await _pair(house, given, shadow, error))


async def _say(house: House, trial: Trial, asked: Asked, given: Episode) -> Episode:
    """As the release was asked, once."""
    voice = await house.voices.of_path(_TENANT, trial.path, asked.alias)
    renderer = house.renderers[voice.base_model]
    request = replace(asked.request, adapter=voice.adapter, n=1, top_logprobs=0, priority="rollout", tenant=_TENANT)
    started, waited, pieces = time.time(), None, list[Piece]()
    async with aclosing(speak(house.voices, voice, request, renderer, asked.stop)) as said:
        async for piece in said:
            waited = time.time() - started if waited is None else waited
            pieces.append(piece)
    choice = Choice(
        tuple(token for piece in pieces for token in piece.tokens),
        tuple(logprob for piece in pieces for logprob in piece.logprobs),
        "".join(piece.text for piece in pieces),
        pieces[-1].stop_reason or "length",
    )
    # Outside its session and beside the conversation: nothing that was never heard may be taken for the last word.
    return replace(
        given, id=new_id("ep"), adapter=voice.adapter, choices=(choice,), created_at=started,
        seconds=time.time() - started, session=None, seq=0, turn="side", arm="shadow", trainable=False, waited=waited,
    )  # fmt: skip


async def _pair(house: House, given: Episode, shadow: Episode | None, error: str) -> Pair:
    if shadow is None:
        return Pair(given.id, None, _side(given, None), Said(failed=True), error)
    release, candidate = await _estimate(house, given, shadow)
    return Pair(given.id, shadow.id, _side(given, release), _side(shadow, candidate))


async def _estimate(house: House, given: Episode, shadow: Episode) -> list[float | None]:
    """Of both as they are kept, so that what is redacted in one is in the other."""
    items = [(one.prompt_tokens, one.choices[0].tokens) for one in (given, shadow)]
    try:
        found = await house.critic.score(given.alias, given.base_model, items, watched=False)
    except AnubhavError as problem:
        log.warning("the critic did not compare %s: %s", given.id, problem)
        return [None, None]
    return [one.mean for one in found]


def _side(episode: Episode, worth: float | None) -> Said:
    choice = episode.choices[0]
    rest = len(choice.tokens) - 1
    alone = len(episode.choices) == 1 and episode.waited is not None and rest > 0
    pace = (episode.seconds - (episode.waited or 0.0)) / rest if alone else None
    return Said(len(choice.tokens), not choice.text.strip(), choice.stop_reason == "length", pace, worth)
