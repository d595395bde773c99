"""`anubhav cluster`: where trainers and samplers are."""

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, show, takes_format


@click.group()
def cluster() -> None:
    """Trainers and samplers on other machines: `anubhav serve --cluster ADDRESS` puts them there."""


@cluster.command()
@takes_format
@takes_remote
def status(remote: Remote, form: Format) -> None:
    """Show each post, the node and process of who stands there, and how often somebody was put there anew."""
    columns = ("post", "alive", "node", "pid", "term", "streams")
    show(remote.get("/v1/cluster")["data"], columns, form, empty="Nothing runs.")
