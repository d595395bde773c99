"""What a client asks in OpenAI's words, with sizes bounded. Unknown fields are ignored, null means unset."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows.complete import Passage
from anubhav.flows.questions import Question
from anubhav.http.fields import Body, Limit, ModelName, Seed, Spoken, Temperature, Text, TopK, TopP
from anubhav.http.identity import Identity
from anubhav.http.images import LONGEST, from_url
from anubhav.http.openai.formats import Bent, bends
from anubhav.http.openai.tools import ToolChoice, Tools, read_tools
from anubhav.http.tools import bring
from anubhav.types.chat import Message, Role, ToolCall

Stop = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Tokens = Annotated[list[int], Field(min_length=1, max_length=1_000_000)]
_LONGEST_SETTINGS = 10_000
_MOST = 1024
"""Continuations one request may ask for, all prompts together."""


class StreamOptions(Body):
    include_usage: bool | None = None


class Asked(Bent):
    """What a chat and a completion have in common."""

    model: ModelName
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    max_tokens: Limit | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def usage_wanted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ImageAt(Body):
    url: Annotated[str, StringConstraints(max_length=LONGEST)]


class Part(Body):
    type: str
    text: Text | None = None
    image_url: ImageAt | None = None


class Called(Body):
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    arguments: Text = "{}"


class Call(Body):
    id: Annotated[str, StringConstraints(max_length=200)] = ""
    type: Literal["function"] = "function"
    function: Called


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[Part], Field(max_length=1000)] | None = None
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    tool_calls: Annotated[list[Call], Field(max_length=128)] | None = None
    tool_call_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    reasoning_content: Text | None = None
    reasoning: Any = None
    """As newer clients call it."""

    @property
    def thought(self) -> str:
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else "")


class Chat(Asked, Spoken):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Limit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    """Variables of the model's own template."""
    reasoning_effort: str | None = None
    return_token_ids: bool | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Of the template. Without an effort there is no thinking, where a template can leave it out."""
        if self.chat_template_kwargs and len(json.dumps(self.chat_template_kwargs)) > _LONGEST_SETTINGS:
            raise BadInput("chat_template_kwargs is too long", hint="Send the template's few variables.")
        off = {"enable_thinking": False} if self.reasoning_effort == "none" else {}
        return {**off, **(self.chat_template_kwargs or {})}

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Role and words of each message."""
        return [(message.role, _words(message)) for message in self.messages]


class Completion(Asked):
    prompt: Text | Tokens | Annotated[list[Text] | list[Tokens], Field(min_length=1, max_length=_MOST)]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: int | None = None
    suffix: str | None = None


_NOT_YET = ("functions", "suffix")
"""What would change the answer and is not in this build: refused, never silently left out."""


def question(body: Chat, who: Identity) -> Question:
    """Raises BadInput for what this build cannot do."""
    _refuse_unsupported(body)
    if body.top_logprobs and not body.logprobs:
        raise BadInput("top_logprobs needs logprobs", hint="Send logprobs: true.")
    wanted = read_tools(body.tools, body.tool_choice, several=body.parallel_tool_calls)
    asked = Question(
        body.model,
        bring([message_of(one) for one in body.messages], wanted.tools),
        body.n or 1,
        body.max_completion_tokens or body.max_tokens,
        1.0 if body.temperature is None else body.temperature,
        body.top_k or -1,
        body.top_p or 1.0,
        body.seed,
        body.stops,
        body.top_logprobs or 0,
        forced=wanted.forced,
        several=wanted.several,
        settings=body.settings,
        **bends(body),
    )
    return who.asks(asked)


def passage(body: Completion) -> Passage:
    """Raises BadInput for what this build cannot do."""
    _refuse_unsupported(body)
    n, prompts = body.n or 1, _prompts(body.prompt)
    if (body.best_of or n) != n:
        raise BadInput("best_of other than n is not in this build", hint="Leave it out.")
    if n * len(prompts) > _MOST:
        raise BadInput(f"{n * len(prompts)} continuations are more than {_MOST}", hint="Send fewer prompts at a time.")
    return Passage(
        body.model,
        prompts,
        n,
        body.max_tokens or 16,
        1.0 if body.temperature is None else body.temperature,
        body.top_k or -1,
        body.top_p or 1.0,
        body.seed,
        body.stops,
        body.logprobs or 0,
        prompt_logprobs=bool(body.echo) and body.logprobs is not None,
        **bends(body),
    )


def _refuse_unsupported(body: Asked) -> None:
    for name in _NOT_YET:
        if getattr(body, name, None):
            raise BadInput(f"{name} is not in this build", hint="Leave it out.")


def _prompts(prompt: str | list[int] | list[str] | list[list[int]]) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt[0], int):
        return (tuple(cast(list[int], prompt)),)
    return tuple(part if isinstance(part, str) else tuple(part) for part in cast(list[str] | list[list[int]], prompt))


def message_of(message: ChatMessage) -> Message:
    if message.tool_calls and message.role != "assistant":
        raise BadInput(f"A message of role {message.role} has tool_calls", hint="They are the assistant's.")
    if (message.role == "tool") != (message.tool_call_id is not None):
        raise BadInput("tool_call_id belongs to messages of role tool, and to each", hint="Name the call it answers.")
    parts = message.content if isinstance(message.content, list) else []
    if other := [part.type for part in parts if part.type not in ("text", "image_url")]:
        raise BadInput(f"Content parts of type {other[0][:50]!r} are not in this build", hint="Send text.")
    images = tuple(from_url(part.image_url and part.image_url.url) for part in parts if part.type == "image_url")
    role: Role = "system" if message.role == "developer" else message.role
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ())
    return Message(
        role, _words(message), message.name, calls, message.tool_call_id, reasoning=message.thought, images=images
    )


def _words(message: ChatMessage) -> str:
    if isinstance(message.content, list):
        return "".join(part.text or "" for part in message.content)
    return message.content or ""
