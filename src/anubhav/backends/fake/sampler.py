"""The Sampler port over the table."""

import asyncio
import bisect
import hashlib
import heapq
import itertools
import math
import os
import time
from array import array
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache
from pathlib import Path

from anubhav.backends.bending import Bend, bends, refuse_bends
from anubhav.backends.fake.files import WEIGHTS, read_spec, read_tables
from anubhav.backends.fake.table import Rows, log_softmax, look_ahead
from anubhav.errors import BadInput, NotFound
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, SamplingParams, StopReason, TopLogprobs

_Voice = tuple[Rows, float]
_DRAWS = 1 << 40
"""Prompt draws take their numbers from this step on, far from those of the sample's own tokens."""


class FakeSampler:
    def __init__(
        self, vocab: int, context: int, gain: float = 1.0, folder: Path | None = None, *, pace: float = 0.0
    ) -> None:
        """`folder`: with the tokenizer that grammars are about. `pace`: seconds from one token to the next."""
        self._vocab, self._context, self._gain, self._folder, self._pace = vocab, context, gain, folder, pace
        self._adapters: dict[AdapterId, _Voice] = {}
        self.running = 0
        """Samples on their way, for tests of cancellation."""

    async def attach(self, adapter: AdapterId, source: Path) -> None:
        scale = self._gain * read_spec(source).alpha / 32.0
        self._adapters[adapter] = (read_tables(source / WEIGHTS)[0]["rows"], scale)

    async def detach(self, adapter: AdapterId) -> None:
        self._adapters.pop(adapter, None)

    async def sample(self, request: SampleRequest) -> AsyncGenerator[Sampled]:
        bent = await bends(request.params, self._folder, request.n)
        voice = self._voice(request)
        seed = request.params.seed if request.params.seed is not None else int.from_bytes(os.urandom(7), "big")
        self.running += request.n
        open_samples = {
            request.first_index + place: (array("q", request.prompt), bend) for place, bend in enumerate(bent)
        }
        scores = self._score(request, voice, seed)
        # By the clock, not from token to token: a real engine does not wait for those who listen to it.
        due = time.monotonic()
        try:
            while open_samples:
                for index, (tokens, bend) in list(open_samples.items()):
                    event = self._speak(request, voice, (seed, index), tokens, bend)
                    yield Sampled(index, *event[:3], event[3], scores)
                    scores = None
                    if event[3]:
                        del open_samples[index]
                        self.running -= 1
                due += self._pace
                await asyncio.sleep(due - time.monotonic() if open_samples else 0)
        finally:
            self.running -= len(open_samples)

    def _voice(self, request: SampleRequest) -> _Voice:
        if request.adapter and request.adapter not in self._adapters:
            raise NotFound(f"The sampler has no adapter {request.adapter}", hint="Attach it first.")
        if not request.prompt or not all(0 <= token < self._vocab for token in request.prompt):
            raise BadInput(f"A prompt needs token ids in 0..{self._vocab - 1}", hint="Use the model's tokenizer.")
        if len(request.prompt) >= self._context or request.params.max_tokens < 1 or request.n < 1:
            raise BadInput("The prompt is too long, or max_tokens or n is below 1", hint="Correct them.")
        refuse_bends(request.params, self._vocab)
        return self._adapters[request.adapter] if request.adapter else ({}, 1.0)

    def _speak(
        self, request: SampleRequest, voice: _Voice, seed: tuple[int, int], tokens: "array[int]", bend: Bend | None
    ) -> tuple[tuple[int, ...], tuple[float, ...], tuple[TopLogprobs, ...], StopReason | None]:
        params = request.params
        plain = look_ahead(tokens, *voice, self._vocab).logprobs()
        found = _heated(plain, params.temperature)
        said = list(tokens[len(request.prompt) :])
        bent = _heated(_bent(plain, bend, said), params.temperature) if bend else found
        token = _draw(bent, params, _uniform(*seed, len(said)), masked=bend is not None)
        tokens.append(token)
        likely = (_top(found, request.top_logprobs),) if request.top_logprobs else ()
        said.append(token)
        full = len(said) >= params.max_tokens or len(tokens) >= self._context
        ends = token in params.stop_tokens or (bend is not None and bend.over(said))
        reason = "stop" if ends else "length" if full else None
        return (token,), (found[token],), likely, reason

    def _score(self, request: SampleRequest, voice: _Voice, seed: int) -> PromptScores | None:
        if not request.scores_prompt:
            return None
        prompt, last = request.prompt, len(request.prompt) - 1
        blank = (None,) * (1 + last - min(request.prompt_last or last, last))
        seen = [look_ahead(prompt[:place], *voice, self._vocab) for place in range(1, len(prompt))]
        asked = range(len(blank), len(prompt))
        chosen = [seen[place - 1].logprob(prompt[place]) for place in asked] if request.prompt_logprobs else []
        k = request.top_prompt_logprobs
        likely = [_top(seen[place - 1].logprobs(), k) for place in asked] if k else []
        return PromptScores(
            (*blank, *chosen) if request.prompt_logprobs else (),
            (*blank, *likely) if k else (),
            tuple(seen[place - 1].logprob(token) for place, token in request.prompt_targets),
            tuple(_draw_some(outlook.logprobs(), request, seed, at) for at, outlook in enumerate(seen))
            if request.prompt_draws
            else (),
        )


def _draw_some(found: Sequence[float], request: SampleRequest, seed: int, at: int) -> TopLogprobs:
    """Fresh draws for one place of the prompt, at the request's temperature and from the whole distribution."""
    k, temperature = request.prompt_draws, request.params.temperature
    scaled = log_softmax([value / (temperature or 1.0) for value in found])
    params = SamplingParams(1, temperature)
    steps = range(_DRAWS + at * k, _DRAWS + (at + 1) * k)
    drawn = [_draw(scaled, params, _uniform(seed, request.first_index, step)) for step in steps]
    return tuple((token, found[token]) for token in drawn)


def _heated(found: Sequence[float], temperature: float) -> Sequence[float]:
    return found if temperature in (0, 1) else log_softmax([value / temperature for value in found])


def _bent(found: Sequence[float], bend: Bend, said: Sequence[int]) -> list[float]:
    """Logits, of which those that may not be drawn are minus infinity."""
    added, mask = bend.added(said), bend.mask(said, len(found))
    return [
        value + added.get(token, 0.0) if mask is None or mask[token] else -math.inf for token, value in enumerate(found)
    ]


def _draw(found: Sequence[float], params: SamplingParams, point: float, *, masked: bool = False) -> int:
    if params.temperature == 0:
        return found.index(max(found))
    if not masked and params.top_k <= 0 and params.top_p >= 1:
        sums = _sums(tuple(found))
        return min(bisect.bisect_right(sums, point * sums[-1]), len(sums) - 1)
    kept: Sequence[int] = range(len(found))
    if masked:
        kept = [token for token in kept if found[token] > -math.inf]
    if params.top_k > 0 or params.top_p < 1:
        kept = _likeliest(found, min(params.top_k, len(kept)) if params.top_k > 0 else len(kept))
    sums = list(itertools.accumulate(math.exp(found[token]) for token in kept))
    if params.top_p < 1:
        sums = sums[: 1 + sum(total < params.top_p * sums[-1] for total in sums[:-1])]
    return kept[min(bisect.bisect_right(sums, point * sums[-1]), len(sums) - 1)]


@lru_cache(maxsize=512)
def _sums(found: tuple[float, ...]) -> list[float]:
    """Of the probabilities so far. A table that was taught nothing has few distributions."""
    return list(itertools.accumulate(map(math.exp, found)))


def _likeliest(found: Sequence[float], k: int) -> list[int]:
    return heapq.nsmallest(k, range(len(found)), key=lambda token: -found[token])


def _top(found: Sequence[float], k: int) -> TopLogprobs:
    return tuple((token, found[token]) for token in _likeliest(found, k))


def _uniform(seed: int, index: int, step: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{index}:{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
