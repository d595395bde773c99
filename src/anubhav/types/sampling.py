"""What a sampler is asked and answers: token ids in, token ids and log-probabilities out."""

from dataclasses import dataclass
from typing import Literal

from anubhav.types.ids import AdapterId

StopReason = Literal["stop", "length"]
Priority = Literal["interactive", "rollout", "training"]
TopLogprobs = tuple[tuple[int, float], ...]
"""(token id, log-probability) pairs, most likely first."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    max_tokens: int
    temperature: float = 1.0
    """0 is greedy. Log-probabilities are those of the temperature-scaled distribution before top-k and top-p."""
    top_k: int = -1
    """-1 keeps every token."""
    top_p: float = 1.0
    seed: int | None = None
    """The same seed, prompt and parameters give the same samples, whatever else is in the batch."""
    stop_tokens: tuple[int, ...] = ()
    """Sampling ends with one of these, which is part of the answer."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    prompt: tuple[int, ...]
    params: SamplingParams
    adapter: AdapterId | None = None
    """None is the base model."""
    n: int = 1
    first_index: int = 0
    """Index of the first of the n samples: a seeded request split in parts draws the same samples as the whole."""
    prompt_logprobs: bool = False
    top_prompt_logprobs: int = 0
    top_logprobs: int = 0
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class PromptScores:
    logprobs: tuple[float | None, ...]
    """One per prompt token; the first is None."""
    top: tuple[TopLogprobs | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """One event of a sample stream: some more tokens of sample `index`."""

    index: int
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    top: tuple[TopLogprobs, ...] = ()
    stop_reason: StopReason | None = None
    """Set on the last event of this sample."""
    prompt: PromptScores | None = None
    """Set on the first event of the stream when prompt scores were asked for."""
