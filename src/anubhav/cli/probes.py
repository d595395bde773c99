"""`anubhav probes` and `anubhav verdicts`: what judges laps, and what it found."""

import json
from typing import TextIO

import click

from anubhav.cli.laps import describe
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, layout, show, takes_format

_COLUMNS = ("id", "suite", "check", "question", "expected")
_BATCH = 500


@click.group()
def probes() -> None:
    """Seal what judges an alias, out of sight of what is trained. Needs a key with the scope judge."""


@probes.command("list")
@click.argument("alias", default="default")
@click.option("--repairs", is_flag=True, help="The accepted corrections that no later lap may undo.")
@takes_format
@takes_remote
def list_probes(remote: Remote, *, alias: str, repairs: bool, form: Format) -> None:
    """List the probes of ALIAS."""
    rows = remote.get("/v1/probes", alias=alias, repairs=str(repairs).lower())["data"]
    shown = [{**row, "question": row["messages"][-1]["content"]} for row in rows]
    show(shown, _COLUMNS, form, empty="No probe: corrections asked in other words judge its laps.")


@probes.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--alias", default="default", show_default=True)
@takes_remote
def add(remote: Remote, file: TextIO, alias: str) -> None:
    """Seal the probes of FILE, one JSON object a line: suite, check, question (or messages), expected."""
    try:
        rows = [json.loads(line) for line in file if line.strip()]
    except ValueError as problem:
        raise click.BadParameter(f"one line is no JSON: {problem}") from problem
    for start in range(0, len(rows), _BATCH):
        remote.post("/v1/probes", {"alias": alias, "probes": rows[start : start + _BATCH]})
    click.echo(f"{len(rows)} sealed for {alias}")


@probes.command()
@click.argument("probe")
@click.option("--alias", default="default", show_default=True)
@takes_remote
def remove(remote: Remote, probe: str, alias: str) -> None:
    """Remove one probe of an alias."""
    remote.delete(f"/v1/probes/{probe}?alias={alias}")
    click.echo(f"{probe} removed")


@click.command()
@click.argument("alias", default="default")
@takes_format
@takes_remote
def verdicts(remote: Remote, alias: str, form: Format) -> None:
    """Show the last verdict on ALIAS with its evidence."""
    laps = [one for one in remote.get("/v1/laps", alias=alias)["data"] if one["verdict"]]
    if not laps:
        click.echo(f"No verdict on {alias} yet: run anubhav lap {alias}")
        return
    found = remote.get(f"/v1/verdicts/{laps[0]['id']}")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(describe({"verdict": found}))
    lines = [("suite", "prompt", "before", "after")]
    lines += [
        (one["suite"], _short(one["prompt"]), _said(one, "incumbent"), _said(one, "candidate"))
        for one in found["examples"]
    ]
    click.echo(f"\n{layout(lines)}" if found["examples"] else "")
    for note in found["notes"]:
        click.echo(note)


def _said(one: dict[str, object], whose: str) -> str:
    return f"{one[whose]:.2f} {_short(one[f'{whose}_text'])}".strip()


def _short(text: object) -> str:
    flat = " ".join(str(text or "").split())
    return flat if len(flat) <= 40 else f"{flat[:39]}…"
