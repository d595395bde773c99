"""`anubhav key`: API keys for others."""

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format


@click.group()
def key() -> None:
    """Make, list and revoke API keys."""


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


@key.command("list")
@takes_format
@takes_remote
def list_keys(remote: Remote, *, form: Format) -> None:
    """Show whose keys there are; the keys themselves are known to their holders alone."""
    keys = remote.get("/v1/keys")["data"]
    if form == "table":
        keys = [one | {"made": moment(one["created_at"]), "revoked": moment(one["revoked_at"])} for one in keys]
    show(keys, ("id", "tenant", "operator", "made", "revoked", "note"), form, empty="There is no key yet.")


@key.command()
@click.argument("key_id", metavar="ID")
@takes_remote
def revoke(remote: Remote, *, key_id: str) -> None:
    """End the key ID, and whatever is signed in with it."""
    remote.delete(f"/v1/keys/{key_id}")
    click.echo(f"{key_id} is revoked")
