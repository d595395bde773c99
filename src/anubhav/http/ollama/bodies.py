"""What a client asks in Ollama's words, with sizes bounded. Unknown fields are ignored."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows.questions import Question
from anubhav.http.fields import Body, Long, ModelName, Seed, Spoken, Temperature, Text, TopK, TopP
from anubhav.http.identity import Identity
from anubhav.http.images import LONGEST, from_base64
from anubhav.http.tools import bring, declared, wanted
from anubhav.types.chat import Message, ToolCall
from anubhav.types.sampling import Grammar

Images = Annotated[list[Annotated[str, StringConstraints(max_length=LONGEST)]], Field(max_length=100)]


class Called(Body):
    name: ModelName
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class Call(Body):
    function: Called


class Said(Body):
    role: Literal["system", "user", "assistant", "tool"]
    content: Text | None = None
    thinking: Text | None = None
    images: Images | None = None
    tool_calls: Annotated[list[Call], Field(max_length=128)] | None = None
    tool_name: ModelName | None = None


class Function(Body):
    name: ModelName
    description: Long | None = None
    parameters: dict[str, Any] | None = None


class ToolBody(Body):
    type: str = "function"
    function: Function | None = None


class Options(Body):
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    seed: Seed | None = None
    num_predict: int | None = None
    """Below 1: as many as fit."""
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None


class Asked(Spoken):
    model: ModelName
    stream: bool | None = None
    """Usually true."""
    options: Options | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: bool | str | None = None


class Chat(Asked):
    messages: Annotated[list[Said], Field(max_length=10_000)]
    tools: Annotated[list[ToolBody], Field(max_length=1024)] | None = None

    @property
    def texts(self) -> list[tuple[str, str]]:
        return [(said.role, said.content or "") for said in self.messages]


class Generate(Asked):
    prompt: Text = ""
    system: Text | None = None
    suffix: str | None = None
    raw: bool | None = None
    images: Images | None = None

    def as_chat(self) -> Chat:
        """Ollama puts the prompt into the model's template as well."""
        if self.suffix or self.raw:
            raise BadInput("suffix and raw are not in this build", hint="Send a prompt, or use /v1/completions.")
        said = [Said(role="system", content=self.system)] if self.system else []
        said.append(Said(role="user", content=self.prompt, images=self.images))
        shared = self.model_dump(include=set(Asked.model_fields))
        return Chat(messages=said, **shared)


class Named(Body):
    model: ModelName | None = None
    name: ModelName | None = None

    @property
    def wanted(self) -> str:
        if not (found := self.model or self.name):
            raise BadInput("model is missing", hint="ModelName a model of /api/tags.")
        return named(found)


def named(model: str) -> str:
    """Ollama's clients give a name without a tag the tag `latest`."""
    return model.removesuffix(":latest")


def question(body: Chat, who: Identity) -> Question:
    """Raises BadInput for what this build cannot do."""
    options = body.options or Options()
    functions = [tool.function for tool in body.tools or () if tool.function]
    tools = wanted([declared(one.name, one.description, one.parameters) for one in functions], "auto")
    stops = (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())
    asked = Question(
        named(body.model),
        bring(_messages(body.messages), tools.tools),
        max_tokens=options.num_predict if (options.num_predict or 0) > 0 else None,
        temperature=0.8 if options.temperature is None else options.temperature,
        top_k=options.top_k or -1,
        top_p=options.top_p or 1.0,
        seed=options.seed,
        stop=tuple(stop for stop in stops if stop),
        grammar=_grammar(body),
        settings=None if body.think is None else {"enable_thinking": bool(body.think)},
    )
    return who.asks(asked)


def _messages(said: list[Said]) -> list[Message]:
    """Calls have no ids in this dialect: a tool's result answers the oldest call that has none."""
    found: list[Message] = []
    open_calls: list[str] = []
    for place, one in enumerate(said):
        images = tuple(map(from_base64, one.images or ()))
        calls = tuple(
            ToolCall(f"call_{place}_{number}", call.function.name, json.dumps(call.function.arguments))
            for number, call in enumerate(one.tool_calls or ())
        )
        open_calls += [call.id for call in calls]
        answered = (open_calls.pop(0) if open_calls else f"call_{place}") if one.role == "tool" else None
        thought = one.thinking or ""
        found.append(Message(one.role, one.content or "", None, calls, answered, reasoning=thought, images=images))
    return found


def _grammar(body: Asked) -> Grammar | None:
    if not body.format:
        return None
    return Grammar("json_schema", json.dumps({"type": "object"} if body.format == "json" else body.format))
