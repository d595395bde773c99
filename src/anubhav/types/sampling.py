"""What a sampler is asked and answers: token ids in, token ids and log-probabilities out."""

from dataclasses import dataclass
from typing import Literal

from anubhav.types.arrays import Array
from anubhav.types.ids import AdapterId

StopReason = Literal["stop", "length"]
Priority = Literal["interactive", "rollout", "training"]
TopLogprobs = tuple[tuple[int, float], ...]
"""(token id, log-probability) pairs, most likely first."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """The texts that a sample may be: it is held to them token by token, and ends only where one is whole."""

    kind: Literal["json_schema", "regex", "lark"]
    text: str
    """A JSON schema as JSON, a regular expression, or a grammar in Lark's notation."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    max_tokens: int
    temperature: float = 1.0
    """0 is greedy. Log-probabilities are those of the temperature-scaled distribution before all that follows here."""
    top_k: int = -1
    """-1 keeps every token."""
    top_p: float = 1.0
    seed: int | None = None
    """The same seed, prompt and parameters give the same samples, whatever else is in the batch."""
    stop_tokens: tuple[int, ...] = ()
    """Sampling ends with one of these, which is part of the answer."""
    presence_penalty: float = 0.0
    """Subtracted from the logit of each token that this sample already holds; the prompt does not count."""
    frequency_penalty: float = 0.0
    """As above, once for each time."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit)."""
    grammar: Grammar | None = None


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
    prompt_last: int | None = None
    """Score only so many tokens at the end of the prompt, by both of the above. None: all."""
    prompt_targets: tuple[tuple[int, int], ...] = ()
    """(position in the prompt, at least 1; token id): score these tokens there, whatever stands there."""
    prompt_draws: int = 0
    """Draw so many tokens at each position after the first, at the request's temperature."""
    top_logprobs: int = 0
    routes: bool = False
    """Tell which experts each token went to, where the model has some."""
    priority: Priority = "interactive"
    tenant: str = ""
    """Whose turn it takes; the house's own work takes turns as one more tenant."""

    @property
    def scores_prompt(self) -> bool:
        return bool(self.prompt_logprobs or self.top_prompt_logprobs or self.prompt_targets or self.prompt_draws)


@dataclass(frozen=True, slots=True)
class PromptScores:
    """What was asked about the prompt, at temperature 1; parts that were not asked for are empty."""

    logprobs: tuple[float | None, ...] = ()
    """One per prompt token; None for the first and for those before the last so many."""
    top: tuple[TopLogprobs | None, ...] = ()
    targets: tuple[float, ...] = ()
    """One per target of the request."""
    draws: tuple[TopLogprobs, ...] = ()
    """Per position after the first, the tokens drawn there, in the order of drawing."""


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
    cached: int = 0
    """On a sample's first event: prompt tokens that were computed for another request anyway."""
    routes: Array | None = None
    """When asked for: the experts of the tokens read since the event before, int32, as `training.ROUTES` has them.
    All of a sample's events together: those of the prompt and of the sampled tokens but the last.
    """
