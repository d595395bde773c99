"""`anubhav config`: what `anubhav serve` would be started with, and where each setting comes from."""

import json
import os
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from anubhav.cli.configured import CONFIG, KEYS, meant
from anubhav.cli.schema import schema_of
from anubhav.cli.serve import serve
from anubhav.cli.tables import Format, show, takes_format
from anubhav.settings import key_file, preset_key

_OTHERS = ("ANUBHAV_API_KEY", "ANUBHAV_API_KEY_FILE", "ANUBHAV_BASE_URL", "ANUBHAV_NATIVE", "ANUBHAV_VLLM_HOME")


@click.group()
def config() -> None:
    """Settings: anubhav.toml, ANUBHAV_* variables and flags, each going before the one named first."""


@config.command("show", context_settings={"ignore_unknown_options": True})
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@takes_format
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def show_config(*, origin: bool, form: Format, options: tuple[str, ...]) -> None:
    """Show what `anubhav serve OPTIONS` would be started with."""
    with serve.make_context("serve", list(options)) as context:
        rows = [_row(context, param) for param in serve.params if param.name in KEYS]
        data_dir = context.params["data_dir"]
    given = "ANUBHAV_API_KEY" if os.environ.get("ANUBHAV_API_KEY") else "ANUBHAV_API_KEY_FILE"
    source = given if preset_key() else str(key_file(data_dir))
    rows.append({"setting": "api_key", "value": "(not shown)", "origin": source})
    if form == "json":
        click.echo(json.dumps(rows if origin else {row["setting"]: row["value"] for row in rows}, indent=2))
    else:
        shown = [{**row, "value": _text(row["value"])} for row in rows]
        show(shown, ("setting", "value", "origin") if origin else ("setting", "value"), form, empty="")
    for name in _unknown():
        click.echo(f"{name} means nothing here. {meant(name, _variables())}", err=True)


@config.command("schema")
def show_schema() -> None:
    """Print the JSON Schema of anubhav.toml, for editors.

    Keep it in a file, and name that file in the first line of anubhav.toml: `#:schema ./anubhav.schema.json`.
    """
    click.echo(json.dumps(schema_of(serve), indent=2))


def _row(context: click.Context, param: click.Parameter) -> dict[str, Any]:
    name = param.name or ""
    value = context.params[name]
    return {
        "setting": name,
        "value": str(value) if isinstance(value, Path) else value,
        "origin": _origin(context, param),
    }


def _origin(context: click.Context, param: click.Parameter) -> str:
    source = context.get_parameter_source(param.name or "")
    if source == ParameterSource.COMMANDLINE:
        return param.opts[0]
    if source == ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    return str(context.meta[CONFIG]) if source == ParameterSource.DEFAULT_MAP else "default"


def _text(value: Any) -> str | None:
    if isinstance(value, tuple):
        several = cast(tuple[str | tuple[str, ...], ...], value)
        return " ".join(one if isinstance(one, str) else "=".join(one) for one in several) or None
    return None if value is None else str(value)


def _variables() -> tuple[str, ...]:
    return (*_OTHERS, *(str(param.envvar) for param in serve.params if param.envvar))


def _unknown() -> list[str]:
    return sorted(name for name in os.environ if name.startswith("ANUBHAV_") and name not in _variables())
