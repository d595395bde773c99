"""Streams: the samples of a request as they grow, as tokens and as text, ended by stop strings where there are any."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import msgspec

from anubhav.errors import BadInput
from anubhav.rendering.renderer import Renderer
from anubhav.rendering.speech.listening import Listener
from anubhav.rendering.stream import StopStrings, TextStream
from anubhav.serving.voices import Voice, Voices
from anubhav.types.arrays import Array
from anubhav.types.chat import NOTHING, Heard
from anubhav.types.models import Model
from anubhav.types.sampling import PromptScores, Sampled, SampleRequest, StopReason, TopLogprobs

Listen = Callable[[int], Listener]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Some more of one sample. A struct, as one is made for each token."""

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
    """Turns the tokens of samples into text, hears what is in it, and notices the stop string that ends one."""

    def __init__(self, renderer: Renderer, stops: Sequence[str], listen: Listen | None) -> None:
        self._renderer, self._stops, self._listen = renderer, stops, listen
        self._open: dict[int, tuple[TextStream, StopStrings, Listener | None]] = {}

    def hear(self, event: Sampled) -> Piece:
        stream, stops, listener = self._open.get(event.index) or self._begin(event.index)
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
        parts = listener.push(text) if listener else NOTHING
        if listener and reason:
            parts += listener.flush()
        return Piece(event.index, *told, text, reason, event.prompt, event.cached, event.routes, parts)

    def _begin(self, index: int) -> tuple[TextStream, StopStrings, Listener | None]:
        listener = self._listen(index) if self._listen else None
        return self._open.setdefault(index, (TextStream(self._renderer), StopStrings(self._stops), listener))


def room_after(prompt: Sequence[int], model: Model) -> int:
    """How many tokens fit after the prompt, at least 1. Raises BadInput for a prompt the model cannot read."""
    room = model.context_length - len(prompt)
    if not prompt or room < 1:
        raise BadInput(
            f"The prompt has {len(prompt)} tokens and {model.name} reads 1 to {model.context_length - 1}",
            hint="Shorten it, or leave out some of the older messages.",
        )
    if not (min(prompt) >= 0 and max(prompt) < model.vocab_size):
        raise BadInput(f"The prompt holds token ids outside 0..{model.vocab_size - 1}", hint="Use its tokenizer.")
    return room


async def speak(
    voices: Voices,
    voice: Voice,
    request: SampleRequest,
    renderer: Renderer,
    stops: Sequence[str] = (),
    listen: Listen | None = None,
) -> AsyncGenerator[Piece]:
    """All samples of the request, interleaved. A stop string ends its own sample at once; closing ends them all.

    `listen` makes the listener of each sample, which tells thoughts, words and calls apart.
    """
    if not stops or request.n == 1:
        async with aclosing(_heard(voices, voice, request, _Ears(renderer, stops, listen))) as stream:
            async for piece in stream:
                yield piece
        return
    pieces: asyncio.Queue[Piece | Exception | None] = asyncio.Queue()
    parts = _split(request)
    heard = [_heard(voices, voice, part, _Ears(renderer, stops, listen)) for part in parts]
    tasks = [asyncio.create_task(_pump(one, pieces)) for one in heard]
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


def _split(request: SampleRequest) -> list[SampleRequest]:
    """One request per sample, so that each can be closed by itself; their seeds stay those of the whole.

    The first one alone is asked about the prompt.
    """
    first = replace(request, n=1)
    bare = replace(first, prompt_logprobs=False, top_prompt_logprobs=0, prompt_targets=(), prompt_draws=0)
    return [first, *(replace(bare, first_index=request.first_index + place) for place in range(1, request.n))]


async def _heard(voices: Voices, voice: Voice, part: SampleRequest, ears: _Ears) -> AsyncGenerator[Piece]:
    async with aclosing(voices.sample(voice, part)) as stream:
        async for event in stream:
            piece = ears.hear(event)
            yield piece
            if piece.stop_reason and event.stop_reason is None:
                break  # a stop string: nothing more of this sample is wanted


async def _pump(heard: AsyncGenerator[Piece], pieces: "asyncio.Queue[Piece | Exception | None]") -> None:
    """Put every piece, then None; or the problem that ended it."""
    try:
        async with aclosing(heard) as stream:
            async for piece in stream:
                pieces.put_nowait(piece)
        pieces.put_nowait(None)
    except Exception as problem:  # noqa: BLE001 - raised again where the stream is read
        pieces.put_nowait(problem)
