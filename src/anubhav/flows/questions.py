"""Questions: what a chat is asked, whatever dialect it was asked in, and how its samples are drawn for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anubhav.errors import BadInput
from anubhav.rendering.renderer import Renderer
from anubhav.rendering.speech.offering import offered
from anubhav.types.chat import Message
from anubhav.types.experience import Turn
from anubhav.types.remembering import MemoryUse
from anubhav.types.sampling import Grammar, SamplingParams

_USUAL_TOKENS = 1024
"""When the client does not say how much it wants."""


@dataclass(frozen=True, slots=True)
class Question:
    model: str
    messages: tuple[Message, ...]
    n: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    session: str | None = None
    user: str | None = None
    turn: Turn = "main"
    trainable: bool = True
    """False: recorded, and never learned from."""
    kept: bool = True
    """False: not recorded at all."""
    grammar: Grammar | None = None
    """What its words are held to; beside tools, what they are held to where none is called."""
    forced: tuple[str, ...] = ()
    """The tools of which one must be called; empty: as the model likes."""
    several: bool = False
    """More than one call in a reply, where it must call."""
    settings: Mapping[str, Any] | None = None
    """Variables of the model's own chat template."""
    memory: MemoryUse | None = None
    """Whether `messages` are only what is new, or a history: what was said before is remembered."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()


def params_of(question: Question, renderer: Renderer, prompt: Sequence[int], room: int) -> SamplingParams:
    """Raises BadInput for wishes that exclude one another."""
    return SamplingParams(
        min(question.max_tokens or _USUAL_TOKENS, room),
        question.temperature,
        question.top_k,
        question.top_p,
        question.seed,
        renderer.stop_tokens,
        question.presence_penalty,
        question.frequency_penalty,
        question.logit_bias,
        _held(question, renderer, prompt),
    )


def _held(question: Question, renderer: Renderer, prompt: Sequence[int]) -> Grammar | None:
    """What the reply is held to, for its calls and for its words."""
    tools = offered(question.messages)
    if question.forced:
        called = [tool for tool in tools if tool.name in question.forced]
        return renderer.force(prompt, called, several=question.several)
    if question.grammar and tools:
        if question.grammar.kind != "json_schema":
            raise BadInput("Beside tools a reply can be held to a JSON schema only", hint="Leave out one of them.")
        return renderer.either(tools, question.grammar.text)
    if any(tool.strict for tool in tools):
        return renderer.guard(tools)
    return question.grammar
