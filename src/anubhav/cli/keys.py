"""`anubhav key`: API keys for others."""

import click

from anubhav.cli.remote import Remote, takes_remote


@click.group()
def key() -> None:
    """Make API keys."""


@key.command()
@click.option("--tenant", required=True, help="Whose key it is: what it makes is not seen by other tenants.")
@click.option("--note", default="", help="What it is for.")
@click.option("--operator", is_flag=True, help="May also run laps, roll back and make keys.")
@takes_remote
def create(remote: Remote, *, tenant: str, note: str, operator: bool) -> None:
    """Make an API key and print it; it is shown this once."""
    made = remote.post("/v1/keys", {"tenant": tenant, "note": note, "operator": operator})
    click.echo(made["key"])
