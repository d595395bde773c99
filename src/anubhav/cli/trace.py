"""`anubhav trace`: from a reply back to the people it was learned from, and from a person on to what came of it."""

import json
from typing import Any

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, takes_format

_CHILDREN = 20
"""Of one kind of edge; the rest is counted."""


@click.command()
@click.argument("name", metavar="ID")
@takes_format
@takes_remote
def trace(remote: Remote, *, name: str, form: Format) -> None:
    """Trace ID, a reply (`ep_…`), feedback, lap, release or adapter, or rater:NAME or user:NAME.

    Back: reply, memory, adapter, release, lap, batches, episodes, feedback, rater. On: laps, adapters, replies.
    """
    found = remote.get(f"/v1/trace/{name}")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    nodes = {node["id"]: node for node in found["nodes"]}
    for title, edges in (("what led to it", found["back"]), ("what came of it", found["onward"])):
        if edges:
            click.echo(f"{name}: {title}")
            for line in _tree(name, edges, nodes):
                click.echo(line)
    if found["cut"]:
        click.echo("… and more: the trace was cut")


def _tree(root: str, edges: list[dict[str, Any]], nodes: dict[str, Any]) -> list[str]:
    below: dict[str, list[dict[str, Any]]] = {}
    for edge in edges:
        below.setdefault(edge["source"], []).append(edge)
    lines: list[str] = []
    seen = {root}

    def grow(name: str, indent: str) -> None:
        children = below.get(name, [])
        for edge in children[:_CHILDREN]:
            again = edge["to"] in seen
            mark = "  (above)" if again and edge["to"] in below else ""
            lines.append(f"{indent}{edge['what']}: {_describe(nodes[edge['to']])}{mark}")
            if not again:
                seen.add(edge["to"])
                grow(edge["to"], f"{indent}  ")
        if len(children) > _CHILDREN:
            lines.append(f"{indent}… and {len(children) - _CHILDREN} more")

    grow(root, "  ")
    return lines


def _describe(node: dict[str, Any]) -> str:
    facts = node["facts"]
    names = ("alias", "action", "state", "kind", "rater", "user", "path", "scope", "key")
    shown = [f"{name} {facts[name]}" for name in names if facts.get(name)]
    when = facts.get("created_at") or facts.get("started_at")
    return " · ".join([f"{node['kind']} {node['id']}", *shown, *([moment(when)] if when else [])])
