"""What Tinker's sample requests ask for and get, and the checks that need the model: what passes can be sampled."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from anubhav.errors import BadInput, TooLarge
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import room_after
from anubhav.types.ids import AdapterId
from anubhav.types.models import Model
from anubhav.types.sampling import PromptScores, SampleRequest, SamplingParams, StopReason, TopLogprobs

_MOST_CELLS = 1 << 20
"""Target tokens, and draws, of one prompt."""
_MOST_STOPS = 256


@dataclass(frozen=True, slots=True)
class Targets:
    """Tokens to score along a prompt: row i is about position i + 1, and -1 asks for nothing."""

    shape: tuple[int, int]
    tokens: tuple[int, ...]
    """Row-major; of a sparse matrix the listed cells only."""
    row_starts: tuple[int, ...] | None = None
    """With `columns`, the CSR indices of a sparse matrix."""
    columns: tuple[int, ...] | None = None

    def named(self) -> Iterator[tuple[int, int]]:
        """(position in the prompt, token) of the cells that ask for something."""
        return ((row + 1, token) for row, token in zip(self._rows(), self.tokens, strict=True) if token != -1)

    def fill(self, values: Iterable[float]) -> Iterator[float]:
        """One value per token of `tokens`: those of the named cells, in order, and 0 in the others."""
        rest = iter(values)
        return (0.0 if token == -1 else next(rest) for token in self.tokens)

    def _rows(self) -> Iterator[int]:
        if self.row_starts is None:
            return (cell // self.shape[1] for cell in range(len(self.tokens)))
        return (row for row, (start, end) in enumerate(pairwise(self.row_starts)) for _ in range(start, end))


@dataclass(frozen=True, slots=True)
class Ask:
    """A sample request as Tinker words it."""

    prompt: tuple[int, ...]
    n: int = 1
    max_tokens: int | None = None
    """None: up to the context."""
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] | tuple[int, ...] | None = None
    """None: the model's own end of turn. Empty: nothing stops it."""
    prompt_logprobs: bool = False
    top_prompt_logprobs: int = 0
    prompt_last: int | None = None
    """Score only so many tokens at the end of the prompt."""
    targets: Targets | None = None
    prompt_draws: int = 0
    top_logprobs: int = 0
    recorded: bool = False
    """Keep the samples' log-probabilities for training that names them by sequence id."""


@dataclass(frozen=True, slots=True)
class Sample:
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[TopLogprobs, ...]
    stop_reason: StopReason


@dataclass(frozen=True, slots=True)
class SampleOutcome:
    samples: tuple[Sample, ...]
    prompt: PromptScores | None
    targets: Targets | None = None
    """The layout in which `prompt.targets` is to be told."""
    cached: int = 0
    """Prompt tokens that were computed for another request anyway."""


def read_ask(
    ask: Ask, adapter: AdapterId | None, model: Model, renderer: Renderer
) -> tuple[SampleRequest, tuple[str, ...]]:
    """The request, and the strings that end a sample. Raises BadInput for what this model can never answer."""
    room = room_after(ask.prompt, model)
    _check(ask, model)
    ends, strings = _stops(ask, renderer)
    params = SamplingParams(min(ask.max_tokens or room, room), ask.temperature, ask.top_k, ask.top_p, ask.seed, ends)
    request = SampleRequest(
        ask.prompt,
        params,
        adapter,
        ask.n,
        prompt_logprobs=ask.prompt_logprobs,
        top_prompt_logprobs=ask.top_prompt_logprobs,
        prompt_last=ask.prompt_last,
        prompt_targets=tuple(ask.targets.named()) if ask.targets else (),
        prompt_draws=ask.prompt_draws,
        top_logprobs=ask.top_logprobs,
        routes=ask.recorded,
        priority="rollout",
    )
    return request, strings


def _stops(ask: Ask, renderer: Renderer) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Stop tokens and stop strings. Control tokens leave no text, so one named in a string stops as a token."""
    if ask.stop is None:
        return renderer.stop_tokens, ()
    if "" in ask.stop:
        raise BadInput("stop holds an empty string", hint="Leave it out; an empty list stops at nothing.")
    if len(ask.stop) > _MOST_STOPS:
        raise BadInput(f"stop holds more than {_MOST_STOPS} rules", hint="Name fewer.")
    ends = [stop for stop in ask.stop if isinstance(stop, int)]
    strings: list[str] = []
    for stop in ask.stop:
        if isinstance(stop, str):
            control = renderer.control_token(stop)
            if control is None:
                strings.append(stop)
            else:
                ends.append(control)
    return tuple(ends), tuple(strings)


def _check(ask: Ask, model: Model) -> None:
    rows = len(ask.prompt) - 1
    if ask.prompt_last is not None:
        if not ask.prompt_logprobs:
            raise BadInput("prompt_logprobs_last_n came without prompt_logprobs", hint="Ask for prompt_logprobs.")
        if not 1 <= ask.prompt_last <= rows:
            raise BadInput(
                f"prompt_logprobs_last_n is {ask.prompt_last} for a prompt of {rows + 1} tokens",
                hint="Send a number from 1 to the length of the prompt less one.",
            )
    if ask.prompt_draws * rows > _MOST_CELLS:
        raise TooLarge(f"More than {_MOST_CELLS} tokens would be drawn along the prompt", hint="Ask for fewer.")
    if ask.targets is not None:
        _check_targets(ask.targets, rows, model)


def _check_targets(targets: Targets, rows: int, model: Model) -> None:
    if targets.shape[0] != rows:
        raise BadInput(
            f"target_prompt_logprobs has {targets.shape[0]} rows for a prompt of {rows + 1} tokens",
            hint="Send one row per prompt token after the first.",
        )
    if not all(-1 <= token < model.vocab_size for token in targets.tokens):
        raise BadInput(
            f"target_prompt_logprobs holds token ids outside 0..{model.vocab_size - 1}",
            hint="Use the model's tokenizer, and -1 for cells that ask for nothing.",
        )
    named = sum(token != -1 for token in targets.tokens)
    if not named:
        raise BadInput("target_prompt_logprobs names no token", hint="Name one, or leave it out.")
    if named > _MOST_CELLS:
        raise TooLarge(f"target_prompt_logprobs names more than {_MOST_CELLS} tokens", hint="Split the request.")
