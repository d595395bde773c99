"""What bends a reply, as clients say it: penalties, biases, and the forms it must have. vLLM's names are taken too."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.http.fields import Body
from anubhav.types.sampling import Grammar

_Penalty = Annotated[float, Field(ge=-2, le=2, allow_inf_nan=False)]
_Bias = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]
_Written = Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
_Choices = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=2000)]], Field(max_length=1000)]
_ANY_OBJECT: Final = Grammar("json_schema", '{"type":"object"}')


class JsonSchema(Body):
    """`strict` changes nothing: every schema is held to, and one that cannot be is refused."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class Structured(BaseModel):
    """vLLM's `structured_outputs`. Strict: a form that is not known here would be left out without a word."""

    model_config = ConfigDict(extra="forbid", strict=True)

    json_: Annotated[dict[str, Any] | _Written | None, Field(alias="json")] = None
    regex: _Written | None = None
    choice: _Choices | None = None
    grammar: _Written | None = None
    json_object: bool | None = None


class Bent(Body):
    """The part of a request that bends its samples."""

    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: Annotated[dict[str, _Bias], Field(max_length=1024)] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: Structured | None = None
    guided_json: dict[str, Any] | _Written | None = None
    guided_regex: _Written | None = None
    guided_choice: _Choices | None = None
    guided_grammar: _Written | None = None


def bends(body: Bent) -> dict[str, Any]:
    """The fields of a Question or a Passage that say so. Raises BadInput for what is not understood."""
    return {
        "presence_penalty": body.presence_penalty or 0.0,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "logit_bias": tuple((_token(name), bias) for name, bias in (body.logit_bias or {}).items()),
        "grammar": _grammar(body),
    }


def _token(name: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) < 10):
        raise BadInput(f"logit_bias names {name[:50]!r}, which is no token id", hint='Its keys are token ids: "42".')
    return int(name)


def _grammar(body: Bent) -> Grammar | None:
    asked = body.structured_outputs or Structured()
    forms = [
        _of_format(body.response_format),
        *(_schema(one) for one in (asked.json_, body.guided_json)),
        *(Grammar("regex", one) if one else None for one in (asked.regex, body.guided_regex)),
        *(_choice(one) for one in (asked.choice, body.guided_choice)),
        *(Grammar("lark", one) if one else None for one in (asked.grammar, body.guided_grammar)),
        _ANY_OBJECT if asked.json_object else None,
    ]
    found = [form for form in forms if form]
    if len(found) > 1:
        raise BadInput("A reply can have one form, and this request asks for more", hint="Leave out all but one.")
    return found[0] if found else None


def _of_format(form: ResponseFormat | None) -> Grammar | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return _ANY_OBJECT
    if form.json_schema is None or form.json_schema.schema_ is None:
        raise BadInput(
            "response_format of type json_schema has no json_schema with a schema",
            hint='Send {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}.',
        )
    return _schema(form.json_schema.schema_)


def _schema(schema: dict[str, Any] | str | None) -> Grammar | None:
    if schema is None:
        return None
    try:
        return Grammar("json_schema", schema if isinstance(schema, str) else json.dumps(schema))
    except RecursionError as problem:
        raise BadInput("The JSON schema is nested too deeply", hint="Flatten it.") from problem


def _choice(choices: list[str] | None) -> Grammar | None:
    if not choices:
        return None
    return Grammar("lark", "start: " + " | ".join(json.dumps(one, ensure_ascii=False) for one in choices))
