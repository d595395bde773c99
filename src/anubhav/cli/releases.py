"""`anubhav releases` and `anubhav rollback`: what an alias answers with, and how to go back."""

import getpass

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format

_COLUMNS = ("id", "alias", "action", "path", "who", "why", "when")


@click.command()
@click.argument("alias", required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@takes_format
@takes_remote
def releases(remote: Remote, alias: str | None, limit: int, form: Format) -> None:
    """List releases, newest first, of ALIAS or of all."""
    query: dict[str, str | int] = {"limit": limit, **({"alias": alias} if alias else {})}
    rows = remote.get("/v1/releases", **query)["data"]
    show(
        [{**row, "when": moment(row["created_at"])} for row in rows],
        _COLUMNS,
        form,
        empty="No release yet: the base model answers. Give feedback and run: anubhav lap",
    )


@click.command()
@click.argument("alias", default="default")
@click.option("--why", default="asked for on the command line", help="Kept in the history.")
@takes_remote
def rollback(remote: Remote, alias: str, why: str) -> None:
    """Go back to what ALIAS answered with before; the next request already gets it."""
    release = remote.post("/v1/rollback", {"alias": alias, "why": why, "who": getpass.getuser()})
    click.echo(f"{alias} now answers with {release['path'] or 'the base model'} ({release['id']})")
