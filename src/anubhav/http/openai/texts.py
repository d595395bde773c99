"""Completions in OpenAI's shapes, whole and as events. Log-probabilities are of every token, the last one included."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from anubhav.flows.complete import Continuation
from anubhav.http.openai.answers import head_of, listen, usage_of
from anubhav.rendering.renderer import Renderer
from anubhav.rendering.stream import TextStream
from anubhav.serving.streams import Piece
from anubhav.serving.voices import Voice
from anubhav.types.ids import new_id
from anubhav.types.sampling import PromptScores, TopLogprobs

_Row = tuple[int, float | None, TopLogprobs | None]


async def whole(
    voice: Voice, parts: Sequence[Continuation], renderer: Renderer, n: int, *, echo: bool, logprobs: bool
) -> dict[str, Any]:
    choices: list[dict[str, Any]] = []
    made = 0
    for part, samples in zip(parts, await _listen_all(parts, n), strict=True):
        scores = next((piece.prompt for one in samples for piece in one if piece.prompt), None)
        for pieces in samples:
            rows = [*(_read(part.prompt, scores) if echo else ()), *_made(pieces)]
            text = "".join(piece.text for piece in pieces)
            made += sum(len(piece.tokens) for piece in pieces)
            choices.append(
                {
                    "index": len(choices),
                    "text": renderer.decode(part.prompt) + text if echo else text,
                    "logprobs": _Places(renderer).score(rows) if logprobs else None,
                    "finish_reason": pieces[-1].stop_reason,
                }
            )
    read = sum(len(part.prompt) for part in parts)
    return {**_head(voice), "choices": choices, "usage": usage_of(read, made)}


async def events(
    voice: Voice, parts: Sequence[Continuation], renderer: Renderer, n: int, *, logprobs: bool, usage: bool
) -> AsyncGenerator[dict[str, Any]]:
    """One prompt after the other."""
    head = _head(voice)
    made = 0
    for place, part in enumerate(parts):
        places = [_Places(renderer) for _ in range(n)]
        async with aclosing(part.pieces) as pieces:
            async for piece in pieces:
                made += len(piece.tokens)
                choice = {
                    "index": place * n + piece.index,
                    "text": piece.text,
                    "logprobs": places[piece.index].score(_made([piece])) if logprobs else None,
                    "finish_reason": piece.stop_reason,
                }
                yield {**head, "choices": [choice]}
    if usage:
        yield {**head, "choices": [], "usage": usage_of(sum(len(part.prompt) for part in parts), made)}


def _head(voice: Voice) -> dict[str, Any]:
    return {**head_of(new_id("cmpl"), voice), "object": "text_completion"}


async def _listen_all(parts: Sequence[Continuation], n: int) -> list[list[list[Piece]]]:
    tasks = [asyncio.create_task(listen(part.pieces, n)) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _read(prompt: Sequence[int], scores: PromptScores | None) -> Iterable[_Row]:
    if scores is None:
        return [(token, None, None) for token in prompt]
    return zip(prompt, scores.logprobs, scores.top or [None] * len(prompt), strict=True)


def _made(pieces: Sequence[Piece]) -> list[_Row]:
    return [
        (token, piece.logprobs[place], piece.top[place] if piece.top else None)
        for piece in pieces
        for place, token in enumerate(piece.tokens)
    ]


class _Places:
    """Scores with the place in the text where each token begins."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._stream = TextStream(renderer)
        self._at = 0

    def score(self, rows: Iterable[_Row]) -> dict[str, Any]:
        found: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, logprob, top in rows:
            found["tokens"].append(self._renderer.decode([token]))
            found["token_logprobs"].append(logprob)
            found["top_logprobs"].append(None if top is None else self._named(top))
            found["text_offset"].append(self._at)
            self._at += len(self._stream.push([token]))
        return found

    def _named(self, top: TopLogprobs) -> dict[str, float]:
        """Of tokens that read the same the likelier one."""
        return {self._renderer.decode([token]): logprob for token, logprob in reversed(top)}
