"""`anubhav doctor`: whether this machine can serve, and what to type where it cannot."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from anubhav.cli.configured import Configured, takes_config, takes_data_dir, takes_models
from anubhav.cli.failures import FAILED
from anubhav.cli.models import takes_models_dir
from anubhav.cli.tables import Format, show, takes_format


@click.command(cls=Configured)
@takes_config
@takes_data_dir
@takes_models_dir
@takes_models
@click.option("--host", envvar="ANUBHAV_HOST", default="127.0.0.1", show_default=True)
@click.option("--port", envvar="ANUBHAV_PORT", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--store", envvar="ANUBHAV_STORE", metavar="URL", help="Where the rows are, if in Postgres.")
@click.option("--quick", is_flag=True, help="Do not read the models' files to compare them with their hashes.")
@takes_format
@click.pass_context
def doctor(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    data_dir: Path,
    models_dir: Path,
    models: tuple[str, ...],
    host: str,
    port: int,
    store: str | None,
    quick: bool,
    form: Format,
) -> None:
    """Look at this machine as `anubhav serve` with the same options would find it.

    Exit code 1 when something would keep it from serving. Nothing here changes anything, and no key is shown.
    """
    from anubhav.cli.doctor import engine, machine, parts
    from anubhav.flows import health

    folder = data_dir.expanduser().absolute()
    found = [
        health.python(),
        health.memory(),
        health.disk(folder),
        health.rows(folder, store),
        machine.port(host, port),
        health.data_folder(folder),
        parts.key(folder),
        *engine.engine(),
        *parts.models(models_dir.expanduser().absolute(), models, hashed=not quick),
        *parts.extras(),
    ]
    fit = not any(one.state == "fail" for one in found)
    if form == "json":
        click.echo(json.dumps({"ok": fit, "checks": [asdict(one) for one in found]}, indent=2, ensure_ascii=False))
    else:
        show([asdict(one) for one in found], ("state", "check", "says"), form, empty="")
        for one in found:
            if one.hint:
                click.echo(f"\n{one.check}: {one.hint}")
        click.echo("\nThis machine can serve." if fit else "\nWhat says fail would keep it from serving.")
    if not fit:
        context.exit(FAILED)
