"""`anubhav cluster`: where trainers and samplers are."""

from collections.abc import Mapping, Sequence
from typing import Any

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
    """Show each post, the node and process of who stands there, and how often somebody was put there anew.

    For people also: the nodes, and how many more samplers they have room for.
    """
    found = remote.get("/v1/cluster")
    columns = ("post", "alive", "node", "node_id", "pid", "term", "streams")
    show(found["data"], columns, form, empty="Nothing runs.")
    if form == "table" and found["nodes"]:
        click.echo()
        _show_nodes(found["nodes"], form)
        click.echo(f"\n{_growth(found['data'], found['nodes'])}")


@cluster.command()
@takes_format
@takes_remote
def nodes(remote: Remote, form: Format) -> None:
    """Show each node of the cluster, what stands there and what would find room."""
    _show_nodes(remote.get("/v1/cluster")["nodes"], form)


def _growth(posts: Sequence[Mapping[str, Any]], nodes: Sequence[Mapping[str, Any]]) -> str:
    """What more could be placed; samplers are counted for each model."""
    samplers = [row["post"] for row in posts if "sampler" in row["post"]]
    models = sum(name.endswith(" sampler 1") for name in samplers) or 1
    room = sum(row["room"] for row in nodes)
    if room < models:
        return "There is room for no more samplers."
    return f"There is room for {room} more samplers: anubhav serve --samplers {(len(samplers) + room) // models}"


def _show_nodes(rows: Sequence[Mapping[str, Any]], form: Format) -> None:
    columns = ("node_id", "node", "address", "processors", "free_processors", "cards", "posts", "room", "draining")
    show(rows, columns, form, empty="There is no cluster.")


@cluster.command()
@click.argument("node")
@takes_remote
def drain(remote: Remote, node: str) -> None:
    """Move everything away from NODE, so that it can be taken away. It is named by its id, name or address.

    Refused when there is no room elsewhere. A server that is started anew knows nothing of it.
    """
    done = remote.post_patiently(f"/v1/cluster/nodes/{node}/drain", {})
    for post in done["moved"]:
        click.echo(f"{post} has moved.")
    click.echo(f"Nothing stands on {done['node_id']} ({done['node']}), and nothing will: it may be taken away.")


@cluster.command()
@click.argument("node")
@takes_remote
def undrain(remote: Remote, node: str) -> None:
    """Let posts be put on NODE again."""
    done = remote.delete(f"/v1/cluster/nodes/{node}/drain")
    click.echo(f"Posts may be put on {done['node_id']} ({done['node']}) again.")
