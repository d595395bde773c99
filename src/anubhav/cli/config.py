"""`anubhav config`: what `anubhav serve` would be started with, and where each setting comes from."""

import json
import os
from dataclasses import asdict
from typing import Any, cast

import click

from anubhav.cli.configured import meant, settled
from anubhav.cli.serve import serve
from anubhav.cli.tables import Format, show, takes_format

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
        rows = [asdict(one) for one in settled(context)]
    if form == "json":
        click.echo(json.dumps(rows if origin else {row["setting"]: row["value"] for row in rows}, indent=2))
    else:
        shown = [{**row, "value": _text(row["value"])} for row in rows]
        show(shown, ("setting", "value", "origin") if origin else ("setting", "value"), form, empty="")
    for name in _unknown():
        click.echo(f"{name} means nothing here. {meant(name, _variables())}", err=True)


def _text(value: Any) -> str | None:
    if isinstance(value, tuple):
        several = cast(tuple[str | tuple[str, ...], ...], value)
        return " ".join(one if isinstance(one, str) else "=".join(one) for one in several) or None
    return None if value is None else str(value)


def _variables() -> tuple[str, ...]:
    return (*_OTHERS, *(str(param.envvar) for param in serve.params if param.envvar))


def _unknown() -> list[str]:
    return sorted(name for name in os.environ if name.startswith("ANUBHAV_") and name not in _variables())
