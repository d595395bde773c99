"""`anubhav status`: what answers now, and how the last laps went."""

import json

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format


@click.command()
@takes_format
@takes_remote
def status(remote: Remote, form: Format) -> None:
    """Show what each alias answers with and the last laps."""
    health = remote.get("/healthz")
    live = remote.get("/v1/releases", live=1)["data"]
    laps = remote.get("/v1/laps", limit=5)["data"]
    if form == "json":
        click.echo(json.dumps({**health, "live": live, "laps": laps}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{remote.url} is {health['status']}; models: {', '.join(health['models'])}\n")
    show(live, ("alias", "path", "id"), form, empty="Every alias answers with the base model.")
    click.echo()
    show(
        [{**lap, "when": moment(lap["started_at"])} for lap in laps],
        ("id", "alias", "state", "phase", "outcome", "when"),
        form,
        empty="No lap yet. Give feedback and run: anubhav lap",
    )
