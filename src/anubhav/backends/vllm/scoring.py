"""What a prompt itself is asked for.

Its own tokens, the likeliest and any others are scored in one pass over it. Drawing along it takes samples of one token
after each of its beginnings, which share what was read of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from anubhav.backends.vllm import wire
from anubhav.types.sampling import PromptScores, SampleRequest, TopLogprobs

Post = Callable[[SampleRequest, dict[str, Any]], Awaitable[Any]]
"""Sends a request with these params and returns the answer."""
_WIDEST: Final = 512
"""Tokens scored at one position in one pass."""


async def score(request: SampleRequest, post: Post, *, vocab: int, rows: int) -> PromptScores:
    """`rows`: how many samples the server takes in one request."""
    prompt, last = request.prompt, len(request.prompt) - 1
    blank = (None,) * (1 + last - min(request.prompt_last or last, last))
    k = request.top_prompt_logprobs
    drawn = await _draw(request, post, rows) if request.prompt_draws else []
    asked = [*request.prompt_targets, *((at, token) for at, row in enumerate(drawn, 1) for token in row)]
    found = await _pass_over(request, post, asked, vocab) if last else []
    after = range(len(blank), len(prompt))
    return PromptScores(
        (*blank, *(found[at - 1][prompt[at]] for at in after)) if request.prompt_logprobs else (),
        (*blank, *(_likeliest(found[at - 1], k) for at in after)) if k else (),
        tuple(found[at - 1][token] for at, token in request.prompt_targets),
        tuple(tuple((token, found[at][token]) for token in row) for at, row in enumerate(drawn)),
    )


async def _pass_over(
    request: SampleRequest, post: Post, asked: Sequence[tuple[int, int]], vocab: int
) -> list[dict[int, float]]:
    """The scores of what is asked at each position after the first."""
    top = min(request.top_prompt_logprobs, vocab)
    found: list[dict[int, float]] = [{} for _ in request.prompt[1:]]
    for part in _parts(asked, min(_WIDEST, max(1, vocab - top))):
        answer = await post(request, wire.scoring(top, part))
        for known, row in zip(found, wire.scores(answer), strict=True):
            known.update(row)
    return found


def _parts(asked: Sequence[tuple[int, int]], width: int) -> Iterator[list[tuple[int, list[int]]]]:
    """At least one pass, and as many as the widest position takes."""
    by_place: dict[int, dict[int, None]] = {}
    for at, token in asked:
        by_place.setdefault(at, {})[token] = None
    widest = max((len(tokens) for tokens in by_place.values()), default=0)
    for first in range(0, max(widest, 1), width):
        yield [(at, part) for at, tokens in by_place.items() if (part := list(tokens)[first : first + width])]


def _likeliest(row: dict[int, float], k: int) -> TopLogprobs:
    return tuple(sorted(row.items(), key=lambda pair: -pair[1])[:k])


async def _draw(request: SampleRequest, post: Post, rows: int) -> list[list[int]]:
    """Fresh draws at each position after the first, at the request's temperature and from the whole distribution."""
    seed = wire.first_seed(request.params)
    return [await _draw_at(request, post, rows, at, seed) for at in range(1, len(request.prompt))]


async def _draw_at(request: SampleRequest, post: Post, rows: int, at: int, seed: int) -> list[int]:
    count, temperature = request.prompt_draws, request.params.temperature
    start = replace(request, prompt=request.prompt[:at])
    params: dict[str, Any] = {"max_tokens": 1, "temperature": temperature}
    if temperature == 0:
        (drawn,) = wire.tokens(await post(start, params))
        return drawn * count
    # Seeds that no sample of the request has: those count up from its own.
    first = (seed ^ (1 << 60)) + (request.first_index << 44) + at * count
    parts = [(place, min(rows, count - place)) for place in range(0, count, rows)]
    answers = await asyncio.gather(
        *(post(start, {**params, "n": some, "seed": first + place}) for place, some in parts)
    )
    return [token for answer in answers for (token,) in wire.tokens(answer)]
