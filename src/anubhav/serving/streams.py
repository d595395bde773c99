"""Streams: the samples of a request as they grow, as tokens and as text, ended by stop strings where there are any."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from anubhav.errors import BadInput
from anubhav.rendering.renderer import Renderer
from anubhav.rendering.speech.listening import Listener
from anubhav.rendering.stream import StopStrings, TextStream
from anubhav.serving.voices import Voice, Voices
from anubhav.types.arrays import Array
from anubhav.types.chat import NOTHING, Heard
from anubhav.types.models import Model
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, StopReason, TopLogprobs


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of one sample."""

    index: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[TopLogprobs, ...]
    text: str
    """Final text: never part of a stop string, never half a character."""
    stop_reason: StopReason | None = None
    prompt: PromptScores | None = None
    cached: int = 0
    """On a sample's first piece: prompt tokens that were computed for another request anyway."""
    routes: Array | None = None
    """As `Sampled` has them."""
    heard: Heard = NOTHING
    """Of a chat: what `text` adds to its parts."""


class _Ears:
    """Turns the tokens of samples into text and notices the stop string that ends one."""

    def __init__(self, renderer: Renderer, stops: Sequence[str]) -> None:
        self._renderer, self._stops = renderer, stops
        self._open: dict[int, tuple[TextStream, StopStrings]] = {}

    def hear(self, event: Sampled) -> Piece:
        fresh = (TextStream(self._renderer), StopStrings(self._stops))
        stream, stops = self._open.setdefault(event.index, fresh)
        text, matched, heard = "", False, 0
        for token in event.tokens:
            shown, matched = stops.push(stream.push((token,)))
            text, heard = text + shown, heard + 1
            if matched:
                break
        if event.stop_reason and not matched:
            rest, matched = stops.push(stream.flush())
            text += rest if matched else rest + stops.flush()
        reason = "stop" if matched else event.stop_reason
        told = (event.tokens[:heard], event.logprobs[:heard], event.top[:heard])
        return Piece(event.index, *told, text, reason, event.prompt, event.cached, event.routes)


def room_after(prompt: Sequence[int], model: Model) -> int:
    """How many tokens fit after the prompt, at least 1. Raises BadInput for a prompt the model cannot read."""
    room = model.context_length - len(prompt)
    if not prompt or room < 1:
        raise BadInput(
            f"The prompt has {len(prompt)} tokens and {model.name} reads 1 to {model.context_length - 1}",
            hint="Shorten it, or leave out some of the older messages.",
        )
    if not all(0 <= token < model.vocab_size for token in prompt):
        raise BadInput(f"The prompt holds token ids outside 0..{model.vocab_size - 1}", hint="Use its tokenizer.")
    return room


async def speak(
    voices: Voices, voice: Voice, request: SampleRequest, renderer: Renderer, stops: Sequence[str] = ()
) -> AsyncGenerator[Piece]:
    """All samples of the request, interleaved. A stop string ends its own sample at once; closing ends them all."""
    pieces: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
    parts = _split(request) if stops else [request]
    tasks = [asyncio.create_task(_pump(voices, voice, part, _Ears(renderer, stops), pieces)) for part in parts]
    try:
        for _ in parts:
            while piece := await pieces.get():
                if isinstance(piece, Exception):
                    raise piece
                yield piece
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def understand(pieces: AsyncGenerator[Piece], listen: Callable[[int], Listener]) -> AsyncGenerator[Piece]:
    """The pieces of a chat, each sample's thoughts, words and calls told apart by a listener of its own."""
    listeners: dict[int, Listener] = {}
    async with aclosing(pieces) as stream:
        async for piece in stream:
            listener = listeners.get(piece.index) or listeners.setdefault(piece.index, listen(piece.index))
            heard = listener.push(piece.text)
            yield replace(piece, heard=heard + listener.flush() if piece.stop_reason else heard)


def _split(request: SampleRequest) -> list[SampleRequest]:
    """One request per sample, so that each can be closed by itself; their seeds stay those of the whole.

    The first one alone is asked about the prompt.
    """
    first = replace(request, n=1)
    bare = replace(first, prompt_logprobs=False, top_prompt_logprobs=0, prompt_targets=(), prompt_draws=0)
    return [first, *(replace(bare, first_index=request.first_index + place) for place in range(1, request.n))]


async def _pump(
    voices: Voices, voice: Voice, part: SampleRequest, ears: "_Ears", pieces: "asyncio.Queue[Piece | Exception | None]"
) -> None:
    """Put every piece, then None; or the problem that ended it."""
    try:
        async with aclosing(voices.sample(voice, part)) as stream:
            async for event in stream:
                piece = ears.hear(event)
                pieces.put_nowait(piece)
                if piece.stop_reason and event.stop_reason is None:
                    break  # a stop string: nothing more of this sample is wanted
        pieces.put_nowait(None)
    except Exception as problem:  # noqa: BLE001 - raised again where the stream is read
        pieces.put_nowait(problem)
