"""`anubhav models`: what can be served and what is here already."""

from dataclasses import asdict
from pathlib import Path

import click

from anubhav.cli.tables import Format, show, takes_format
from anubhav.settings import default_models_dir


@click.group()
def models() -> None:
    """List and fetch models."""


takes_models_dir = click.option(
    "--models-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_models_dir,
    envvar="ANUBHAV_MODELS_DIR",
    help="Where models are kept, for all data folders.",
)


@models.command("list")
@takes_format
@takes_models_dir
def list_models(form: Format, models_dir: Path) -> None:
    """List the models that have a name here."""
    from anubhav.catalog.library import Library

    rows = [
        {**asdict(listing), "download": f"{listing.download_bytes / 1e6:.0f} MB" if listing.download_bytes else None}
        for listing in Library(models_dir).list()
    ]
    show(rows, ("name", "licence", "source", "download", "present"), form, empty="No models.")


@models.command()
@click.argument("name")
@takes_models_dir
def pull(name: str, models_dir: Path) -> None:
    """Fetch NAME: a catalogue name or hf:<organisation>/<name>."""
    from anubhav.app import pull_model

    model = pull_model(name, models_dir, click.echo)
    click.echo(f"{model.name} ({model.licence}) lies in {model.folder}")
