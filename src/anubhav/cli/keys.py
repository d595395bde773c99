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
@click.option("--prefix", type=click.Choice(["tml", "sk"]), default="tml", help="sk for MinT's SDK.", show_default=True)
@takes_remote
def create(remote: Remote, *, tenant: str, note: str, operator: bool, prefix: str) -> None:
    """Make an API key and print it; it is shown this once."""
    made = remote.post("/v1/keys", {"tenant": tenant, "note": note, "operator": operator, "prefix": prefix})
    click.echo(made["key"])
