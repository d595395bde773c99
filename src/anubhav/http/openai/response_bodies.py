"""What a client asks of the Responses API. Unknown fields are ignored, null means unset."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.flows.questions import Question
from anubhav.http.fields import Limit, Long, ModelName, Spoken, Temperature, TopP
from anubhav.http.identity import Identity
from anubhav.http.openai.items import Item, Lenient, Text, read_items, settle
from anubhav.http.tools import Wanted, bring, declared, wanted
from anubhav.types.chat import Message
from anubhav.types.sampling import Grammar

INSTRUCTIONS = "instructions"
"""The name of the message that a request's instructions become: they are of this request, and not carried on."""
Short = Annotated[str, StringConstraints(max_length=200)]


class Tool(Lenient):
    type: Short
    name: Short | None = None
    description: Long | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Chosen(Lenient):
    type: Short
    name: Short | None = None


class Format(Lenient):
    type: Literal["text", "json_object", "json_schema"]
    name: Short | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")


class TextSettings(Lenient):
    format: Format | None = None


class Reasoning(Lenient):
    effort: Short | None = None


class Create(Spoken):
    model: ModelName
    input: Text | Annotated[list[Item], Field(max_length=10_000)] = ""
    instructions: Text | None = None
    stream: bool | None = None
    max_output_tokens: Limit | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    include: list[str] | None = None
    tools: Annotated[list[Tool], Field(max_length=1024)] | None = None
    tool_choice: Literal["none", "auto", "required"] | Chosen | None = None
    parallel_tool_calls: bool | None = None
    text: TextSettings | None = None
    reasoning: Reasoning | None = None
    previous_response_id: Short | None = None
    background: bool | None = None

    @property
    def logprobs(self) -> bool:
        return "message.output_text.logprobs" in (self.include or ())

    @property
    def talk(self) -> str | None:
        """The conversation it is asked in."""
        name: Any = cast(dict[str, Any], given).get("id") if isinstance(given := self.conversation, dict) else given
        return name if isinstance(name, str) and name else None

    @property
    def messages(self) -> list[Message]:
        return read_items(self.input)

    @property
    def texts(self) -> list[tuple[str, str]]:
        told = [("system", self.instructions)] if self.instructions else []
        return told + [(message.role, message.content) for message in self.messages]


def question(body: Create, who: Identity, before: tuple[Message, ...]) -> Question:
    """`before`: the conversation that it goes on from. Raises BadInput for what this build cannot do."""
    if body.background and not who.kept:
        raise BadInput("A background response is read from the record", hint="Leave store out, or background.")
    if body.background and body.stream:
        raise BadInput("A background response is not streamed in this build", hint="Poll it, or leave background out.")
    tools = _wanted(body)
    told = [Message("system", body.instructions, INSTRUCTIONS)] if body.instructions else []
    messages = settle([*told, *before, *body.messages])
    if not any(message.role in ("user", "tool") for message in messages):
        raise BadInput("There is nothing to answer", hint="Send input with a user's message.")
    asked = Question(
        body.model,
        bring(messages, tools.tools),
        max_tokens=body.max_output_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=body.top_p or 1.0,
        top_logprobs=body.top_logprobs or 0,
        grammar=_grammar(body),
        forced=tools.forced,
        several=tools.several,
        settings={"enable_thinking": False} if body.reasoning and body.reasoning.effort == "none" else None,
    )
    return who.asks(asked)


def _wanted(body: Create) -> Wanted:
    """Kinds of tools that only OpenAI runs are passed over."""
    found = [
        declared(one.name, one.description, one.parameters, strict=bool(one.strict))
        for one in body.tools or ()
        if one.type == "function" and one.name
    ]
    choice = body.tool_choice
    if isinstance(choice, Chosen):
        if choice.type != "function" or not choice.name:
            raise BadInput(f"tool_choice of type {choice.type[:50]!r} is not in this build", hint="Name a function.")
        return wanted(found, (choice.name,), several=body.parallel_tool_calls is True)
    return wanted(found, choice or "auto", several=body.parallel_tool_calls is True)


def _grammar(body: Create) -> Grammar | None:
    form = body.text.format if body.text else None
    if form is None or form.type == "text":
        return None
    if form.type == "json_schema" and form.schema_ is None:
        raise BadInput("text.format of type json_schema lacks its schema", hint="Send the schema.")
    return Grammar("json_schema", json.dumps(form.schema_ if form.schema_ is not None else {"type": "object"}))
