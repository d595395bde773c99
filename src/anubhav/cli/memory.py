"""`anubhav memory`: what is remembered of a session or a user, why, and everything that can be changed about it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from anubhav.cli.failures import ServerRefused
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format

_WIDTH = 60
_PATIENCE = 6 * 3600.0
"""Seconds that training a refiller may take."""


@click.group()
def memory() -> None:
    """What is remembered: list, show, export, edit, pin, forget.

    MEMORY is an id (`mem_…`, in the header X-Anubhav-Memory of a reply), or session:NAME, or user:NAME.
    """


@memory.command("list")
@click.option("--session", help="Of this session.")
@click.option("--user", help="Of this user, and of the sessions they spoke in.")
@takes_format
@takes_remote
def list_memories(remote: Remote, *, session: str | None, user: str | None, form: Format) -> None:
    """Show what there is, the last changed first."""
    asked: dict[str, str | int] = {name: value for name, value in (("session", session), ("user", user)) if value}
    rows = remote.get("/v1/memories", **asked)["data"]
    shown = [{**row, "of": f"{row['scope']}:{row['key']}", "changed": moment(row["updated_at"])} for row in rows]
    columns = ("id", "of", "tokens", "budget", "turns", "version", "changed")
    show(rows if form == "json" else shown, columns, form, empty="Nothing is remembered yet.")


@memory.command("show")
@click.argument("name", metavar="MEMORY")
@takes_format
@takes_remote
def show_memory(remote: Remote, *, name: str, form: Format) -> None:
    """Show what MEMORY holds, with scores and pins."""
    _tell(remote.get(_place(remote, name)), form)


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.option("--episode", help="What was decided for this reply.")
@click.option("--chunk", help="What was decided about this chunk.")
@click.option("--act", help="kept, compressed, dropped, superseded, deleted, edited, pinned or unpinned.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@takes_format
@takes_remote
def ledger(remote: Remote, *, name: str, limit: int, form: Format, **which: str | None) -> None:
    """Show every decision about MEMORY, the newest first: before, after, and why."""
    asked: dict[str, str | int] = {key: value for key, value in which.items() if value}
    rows = remote.get(f"{_place(remote, name)}/ledger", limit=limit, **asked)["data"]
    shown = [
        {**row, "when": moment(row["created_at"]), "before": _cut(row["before"]), "after": _cut(row["after"])}
        for row in rows
    ]
    columns = ("when", "version", "chunk", "act", "score", "budget", "before", "after", "why")
    show(rows if form == "json" else shown, columns, form, empty="Nothing was decided yet.")


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="FILE.jsonl.")
@takes_remote
def export(remote: Remote, *, name: str, to: Path) -> None:
    """Write MEMORY, its chunks and its ledger into a file of JSON lines."""
    place = _place(remote, name)
    with to.expanduser().open("wb") as out:
        remote.save(f"{place}/export", out)
    click.echo(f"{name} lies in {to}")


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.argument("chunk")
@click.argument("text")
@takes_format
@takes_remote
def edit(remote: Remote, *, name: str, chunk: str, text: str, form: Format) -> None:
    """Give CHUNK of MEMORY another TEXT."""
    _tell(remote.patch(_chunk(remote, name, chunk), {"text": text}), form)


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.argument("chunk", required=False)
@click.option("--text", help="Instead of a chunk: a new line that is never to be forgotten.")
@takes_format
@takes_remote
def pin(remote: Remote, *, name: str, chunk: str | None, text: str | None, form: Format) -> None:
    """Keep CHUNK of MEMORY, or a line of your own, whatever else has to go."""
    if (chunk is None) == (text is None):
        raise click.UsageError("Name either a CHUNK or --text.")
    if text is not None:
        _tell(remote.post(f"{_place(remote, name)}/pins", {"text": text}), form)
    else:
        _tell(remote.patch(_chunk(remote, name, chunk or ""), {"pinned": True}), form)


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.argument("chunk")
@takes_format
@takes_remote
def unpin(remote: Remote, *, name: str, chunk: str, form: Format) -> None:
    """Let CHUNK of MEMORY be shortened and dropped as any other."""
    _tell(remote.patch(_chunk(remote, name, chunk), {"pinned": False}), form)


@memory.command()
@click.argument("name", metavar="MEMORY")
@click.argument("words", required=False)
@click.option("--chunk", help="Instead of words: this chunk.")
@takes_format
@takes_remote
def forget(remote: Remote, *, name: str, words: str | None, chunk: str | None, form: Format) -> None:
    """Take out of MEMORY, and of its ledger, whatever speaks of WORDS, such as "my address"."""
    if (chunk is None) == (words is None):
        raise click.UsageError("Name either WORDS or --chunk.")
    if chunk is not None:
        _tell(remote.delete(_chunk(remote, name, chunk)), form)
    else:
        _tell(remote.post(f"{_place(remote, name)}/forget", {"words": words}), form)


@memory.command()
@click.argument("name", metavar="MEMORY")
@takes_remote
def clear(remote: Remote, *, name: str) -> None:
    """Forget all of MEMORY, its ledger too."""
    found = remote.delete(_place(remote, name))
    click.echo(f"{found['id']} is gone")


@memory.command()
@click.option("--refiller", is_flag=True, help="Instead: learn to write shorter what has to be shortened.")
@takes_format
@takes_remote
def learn(remote: Remote, *, refiller: bool, form: Format) -> None:
    """Learn what is worth keeping, from corrections and likes of replies that remembered something.

    The candidate decides from then on only if it is proved better on replies it did not see. With --refiller an adapter
    learns to write shorter what memories had to shorten, which takes minutes; it too is examined first.
    """
    found = _teach_refiller(remote) if refiller else remote.post("/v1/memories/learn", {})
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        change = found["change"]
        done = "decides from now on" if change["action"] == "activate" else "was not taken"
        seen = f"{found['passages']} passages" if refiller else f"{found['replies']} judged replies"
        click.echo(f"{change['policy']['name']}, from {seen}, {done}: {change['why']}")


@memory.command()
@click.option("--rollback", is_flag=True, help="Back to the one before.")
@click.option("--why", help="For the history.")
@takes_format
@takes_remote
def policy(remote: Remote, *, rollback: bool, why: str | None, form: Format) -> None:
    """Show what decides now and what did before; or go back."""
    if rollback:
        if not why:
            raise click.UsageError("--rollback needs --why.")
        remote.post("/v1/memory-policies/rollback", {"why": why})
    found = remote.get("/v1/memory-policies")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(f"{found['active']['name']} decides now")
    rows = [{**row, "when": moment(row["created_at"]), "policy": row["policy"]["name"]} for row in found["data"]]
    show(rows, ("when", "action", "policy", "who", "why"), form, empty="Nothing was learned yet.")


def _teach_refiller(remote: Remote) -> Any:
    patient = Remote(remote.url, remote.key, timeout=_PATIENCE)
    try:
        return patient.post("/v1/memories/refiller", {})
    finally:
        patient.close()


def _place(remote: Remote, name: str) -> str:
    kind, mark, key = name.partition(":")
    if not mark or kind not in ("session", "user"):
        return f"/v1/memories/{quote(name, safe='')}"
    asked: dict[str, str | int] = {kind: key, "limit": 500}
    rows = [row for row in remote.get("/v1/memories", **asked)["data"] if (row["scope"], row["key"]) == (kind, key)]
    if not rows:
        raise ServerRefused(f"Nothing is remembered of {name}", hint="See: anubhav memory list")
    return f"/v1/memories/{rows[0]['id']}"


def _chunk(remote: Remote, name: str, chunk: str) -> str:
    return f"{_place(remote, name)}/chunks/{quote(chunk, safe='')}"


def _tell(found: dict[str, Any], form: Format) -> None:
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    held = f"{found['tokens']} of {found['budget']} tokens, {found['turns']} messages heard, version {found['version']}"
    click.echo(f"{found['id']} of {found['scope']}:{found['key']}: {held}")
    rows = [{**chunk, "text": _cut(chunk["text"]), "state": _state(chunk)} for chunk in found["chunks"]]
    show(rows, ("id", "turn", "role", "tokens", "score", "state", "text"), form, empty="It holds nothing.")


def _state(chunk: dict[str, Any]) -> str:
    if chunk["pin"]:
        return f"pinned ({chunk['pin']})"
    return "open question" if chunk["open"] else "shortened" if chunk["tokens"] < chunk["whole"] else ""


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
