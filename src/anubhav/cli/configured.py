"""Options that may also stand in a TOML file: flags go before ANUBHAV_* variables, those before the file.

The file is the one that --config names, else `anubhav.toml` in the data folder. Its keys are those of `Settings` and of
the log; one that is none of them is refused, as a setting that silently does nothing is worse than none.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from anubhav.settings import DEFAULT_MODEL, Settings, default_data_dir, key_file, preset_key
from anubhav.types.health import Setting

FILE = "anubhav.toml"
KEYS = (
    *(one.name for one in fields(Settings) if one.name not in ("api_key", "configuration")),
    "log_format",
    "log_level",
)
CONFIG = "config_file"
"""The name of the parameter of --config, and in a context's `meta` of the file that was read."""

takes_config = click.option(
    "--config",
    CONFIG,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="ANUBHAV_CONFIG",
    expose_value=False,
    help=f"A file of settings; otherwise {FILE} in the data folder, if it is there.",
)

takes_data_dir = click.option(
    "--data-dir", envvar="ANUBHAV_DATA_DIR", type=click.Path(path_type=Path, file_okay=False), default=default_data_dir
)
takes_models = click.option(
    "--model",
    "models",
    envvar="ANUBHAV_MODELS",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    metavar="NAME",
)


class Configured(click.Command):
    """A command with --config and --data-dir, whose other options may come from the file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named, _, _ = self.make_parser(ctx).parse_args(list(args))
        file = self._file(ctx, named)
        if file:
            own = {param.name for param in self.params}
            ctx.meta[CONFIG] = file
            ctx.default_map = {key: value for key, value in read(file).items() if key in own}
        return super().parse_args(ctx, args)

    def _file(self, ctx: click.Context, named: Mapping[str, Any]) -> Path | None:
        options = {param.name: param for param in self.params}
        chosen, _ = options[CONFIG].consume_value(ctx, named)
        if isinstance(chosen, str):
            return Path(chosen).expanduser()
        folder, _ = options["data_dir"].consume_value(ctx, named)
        usual = Path(str(folder)).expanduser() / FILE
        return usual if usual.is_file() else None


def read(file: Path) -> dict[str, Any]:
    """Raises UsageError for what is no TOML, and for a key that means nothing."""
    import tomllib

    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as problem:
        raise click.UsageError(f"{file} cannot be read ({problem.strerror}).") from problem
    except ValueError as problem:
        raise click.UsageError(f"{file} is not TOML: {problem}.") from problem
    for key in found:
        if key not in KEYS:
            raise click.UsageError(f"{file}: there is no setting {key!r}. {meant(key, KEYS)}")
    if file.name == FILE and "data_dir" in found:
        raise click.UsageError(f"{file}: data_dir cannot stand in the data folder's own file. Use --config.")
    aliases = found.get("aliases")
    if isinstance(aliases, dict):
        pairs = cast(dict[str, Any], aliases)
        found["aliases"] = [f"{served}={name}" for served, name in pairs.items()]
    return found


def settled(context: click.Context) -> tuple[Setting, ...]:
    """What the command is run with, each with where it comes from; that there is a key, not which."""
    own = [_setting(context, param) for param in context.command.params if param.name in KEYS]
    given = "ANUBHAV_API_KEY" if os.environ.get("ANUBHAV_API_KEY") else "ANUBHAV_API_KEY_FILE"
    source = given if preset_key() else str(key_file(context.params["data_dir"]))
    return (*own, Setting("api_key", "(not shown)", source))


def _setting(context: click.Context, param: click.Parameter) -> Setting:
    name = param.name or ""
    value = context.params[name]
    if name == "store" and value:
        from anubhav.store.lines import shown

        value = shown(value)
    return Setting(name, str(value) if isinstance(value, Path) else value, _origin(context, param))


def _origin(context: click.Context, param: click.Parameter) -> str:
    source = context.get_parameter_source(param.name or "")
    if source == ParameterSource.COMMANDLINE:
        return param.opts[0]
    if source == ParameterSource.ENVIRONMENT:
        return str(param.envvar)
    return str(context.meta[CONFIG]) if source == ParameterSource.DEFAULT_MAP else "default"


def meant(word: str, words: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(words)}."
