"""`anubhav lap`: one turn of the learning loop, watched until its verdict."""

import json
import sys
import time
from typing import Any

import click

from anubhav.cli.failures import FAILED, REFUSED_BY_GATE
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, layout, takes_format

_POLL_SECONDS = 0.5
_STEPPING = ("imitating", "preferring", "reinforcing")
_WIDTH = 36


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
    """Poll a lap until it ends, showing where it is; returns it as GET /v1/laps/<id> gives it."""
    show = _Progress(shown=not quiet)
    while True:
        found = remote.get(f"/v1/laps/{lap_id}")
        show.update(found)
        if found["state"] != "running":
            show.end()
            return found
        time.sleep(_POLL_SECONDS)


class _Progress:
    """A line a phase, which on a terminal grows a bar as its steps are done."""

    def __init__(self, *, shown: bool) -> None:
        self._shown, self._terminal = shown, sys.stdout.isatty()
        self._phase: str = ""
        self._line: str = ""

    def update(self, found: dict[str, Any]) -> None:
        line = _describe_phase(found, bar=self._terminal)
        if not self._shown or line == self._line:
            return
        if not self._terminal:
            click.echo(line)
        elif found["phase"] == self._phase:
            click.echo(f"\r{line}", nl=False)
        else:
            click.echo(f"\n{line}" if self._line else line, nl=False)
        self._phase, self._line = found["phase"], line

    def end(self) -> None:
        if self._shown and self._terminal and self._line:
            click.echo()


def _describe_phase(found: dict[str, Any], *, bar: bool) -> str:
    report, phase = found["report"], found["phase"]
    if not bar or phase not in _STEPPING or "step" not in report:
        return f"  {phase}"
    done = round(_WIDTH * report["step"] / report["steps"])
    return f"  {phase:<12} [{'#' * done}{'-' * (_WIDTH - done)}] {report['step']}/{report['steps']}"


def describe(done: dict[str, Any]) -> str:
    """The verdict with its evidence, suite by suite."""
    verdict = done["verdict"]
    if verdict is None:
        return f"The lap ended as {done['state']}: {done['report'].get('failure', done['phase'])}"
    lines = [("suite", "n", "before", "after", "difference", "95 % interval")]
    for suite in verdict["comparisons"]:
        before, after = f"{suite['incumbent']:.2f}", f"{suite['candidate']:.2f}"
        interval = f"{suite['low']:+.2f} … {suite['high']:+.2f}"
        lines.append((suite["suite"], str(suite["n"]), before, after, f"{suite['difference']:+.2f}", interval))
    return f"{layout(lines)}\n\n{verdict['outcome']}: {verdict['reason']}"
