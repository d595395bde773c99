"""The JSON Schema of anubhav.toml, made of what `anubhav serve` takes, so that it cannot say anything else."""

from typing import Any, cast

import click

from anubhav.cli.configured import KEYS

_WORDS = {
    "data_dir": "Where everything is kept. It cannot stand in the data folder's own file.",
    "models_dir": "Where models are kept, for all data folders.",
    "host": "The address that is listened on; one that other machines reach needs ANUBHAV_API_KEY.",
    "port": "The port that is listened on; 0 takes any free one.",
    "models": "Catalogue names, hf:<organisation>/<name>, or folders; the first is what `default` starts from.",
}
"""Where the option's own help is too short to stand alone."""
_ALIASES = {
    "description": "Names that models are served under besides their own.",
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
        {"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.+$"}},
    ],
}


def schema_of(command: click.Command) -> dict[str, Any]:
    """Of the keys of the file, each an option of the command."""
    options = {param.name or "": param for param in command.params if isinstance(param, click.Option)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "anubhav.toml",
        "description": "Settings of `anubhav serve`.",
        "type": "object",
        "properties": {key: _ALIASES if key == "aliases" else _property(options[key]) for key in KEYS},
        "additionalProperties": False,
    }


def _property(option: click.Option) -> dict[str, Any]:
    one = _values(option.type)
    found: dict[str, Any] = {"type": "array", "items": one} if option.multiple else one
    described = {"description": text} if (text := _WORDS.get(option.name or "", option.help or "")) else {}
    default = option.default
    if isinstance(default, tuple):
        default = list(default)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    known = isinstance(default, str | int | list) and default != []
    return described | found | ({"default": default} if known else {})


def _values(kind: Any) -> dict[str, Any]:
    if isinstance(kind, click.Choice):
        return {"enum": list(cast(Any, kind).choices)}
    if isinstance(kind, click.IntRange):
        return {"type": "integer", "minimum": kind.min, "maximum": kind.max}
    return {"type": "string", "minLength": 1}
