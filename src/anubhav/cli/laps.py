"""`anubhav lap`: one turn of the learning loop, watched until its verdict."""

import json
import time
from typing import Any

import click

from anubhav.cli.failures import FAILED, REFUSED_BY_GATE
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, layout, takes_format

_POLL_SECONDS = 0.5


@click.command()
@click.argument("alias", default="default")
@click.option("--no-wait", is_flag=True, help="Start it and return.")
@takes_format
@takes_remote
def lap(remote: Remote, *, alias: str, no_wait: bool, form: Format) -> None:
    """Learn from the feedback ALIAS has got since its last lap, and release what passes the gate."""
    started = remote.post("/v1/laps", {"alias": alias})
    if no_wait:
        click.echo(started["id"])
        return
    done = watch(remote, started["id"], quiet=form == "json")
    if form == "json":
        click.echo(json.dumps(done, indent=2, ensure_ascii=False))
    else:
        click.echo(describe(done))
    if done["state"] != "done":
        raise click.exceptions.Exit(FAILED)
    if done["outcome"] != "pass":
        raise click.exceptions.Exit(REFUSED_BY_GATE)


def watch(remote: Remote, lap_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Poll a lap until it ends, printing each phase once; returns it as GET /v1/laps/<id> gives it."""
    phase = ""
    while True:
        found = remote.get(f"/v1/laps/{lap_id}")
        if found["phase"] != phase and not quiet:
            phase = found["phase"]
            click.echo(f"  {phase}")
        if found["state"] != "running":
            return found
        time.sleep(_POLL_SECONDS)


def describe(done: dict[str, Any]) -> str:
    """The verdict with its evidence, suite by suite."""
    verdict = done["verdict"]
    if verdict is None:
        return f"The lap ended as {done['state']}: {done['report'].get('error', done['phase'])}"
    lines = [("suite", "n", "before", "after", "difference", "95 % interval")]
    for suite in verdict["comparisons"]:
        before, after = f"{suite['incumbent']:.2f}", f"{suite['candidate']:.2f}"
        interval = f"{suite['low']:+.2f} … {suite['high']:+.2f}"
        lines.append((suite["suite"], str(suite["n"]), before, after, f"{suite['difference']:+.2f}", interval))
    return f"{layout(lines)}\n\n{verdict['outcome']}: {verdict['reason']}"
