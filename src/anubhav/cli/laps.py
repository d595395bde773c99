"""`anubhav lap`: one turn of the learning loop, watched until its verdict; and when, and whether, it goes on."""

import json
import sys
import time
from typing import Any

import click

from anubhav.cli.failures import FAILED, REFUSED_BY_GATE
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, layout, moment, show, takes_format

_POLL_SECONDS = 0.5
_STEPPING = ("imitating", "preferring", "liking", "reinforcing")
_WIDTH = 36
_COLUMNS = ("when", "outcome", "oldest", "why")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Laps(click.Group):
    """`anubhav lap` and `anubhav lap ALIAS` are `anubhav lap run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Laps)
def lap() -> None:
    """One turn of the learning loop: `anubhav lap [ALIAS]` runs it and waits for the verdict."""


@lap.command()
@click.argument("alias", default="default")
@click.option("--no-wait", is_flag=True, help="Start it and return.")
@takes_format
@takes_remote
def run(remote: Remote, *, alias: str, no_wait: bool, form: Format) -> None:
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


@lap.command()
@click.argument("alias", default="default")
@takes_format
@takes_remote
def status(remote: Remote, alias: str, form: Format) -> None:
    """Show what ALIAS learns now, what waits to be learned, when the next lap begins, and the last verdicts."""
    found = remote.get(f"/v1/learning/{alias}")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(_running_line(found["running"]) if found["running"] else f"No lap of {alias} runs.")
    click.echo(f"{found['unread']} judgements wait to be learned from.")
    click.echo(_schedule_line(found))
    show([_lap_row(one) for one in found["recent"]], _COLUMNS, form, empty="No lap has run yet: anubhav lap")


@lap.command("list")
@click.argument("alias", required=False)
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True)
@takes_format
@takes_remote
def list_laps(remote: Remote, alias: str | None, limit: int, form: Format) -> None:
    """List laps, newest first, of ALIAS or of all."""
    query: dict[str, str | int] = {"limit": limit, **({"alias": alias} if alias else {})}
    rows = [_lap_row(one) for one in remote.get("/v1/laps", **query)["data"]]
    show(rows, ("id", "alias", *_COLUMNS), form, empty="No lap has run yet: anubhav lap")


def _turning(name: str, told: str) -> None:
    @lap.command(name, help=told)
    @click.argument("alias", default="default")
    @takes_remote
    def turn(remote: Remote, alias: str) -> None:
        found = remote.get(f"/v1/learning/{alias}")["running"]
        if found is None:
            raise click.ClickException(f"No lap of {alias} runs. Begin one: anubhav lap {alias}")
        click.echo(_running_line(remote.post(f"/v1/laps/{found['id']}/{name}", {})))


_turning("pause", "Let the lap of ALIAS rest after the batch under way.")
_turning("resume", "Let the lap of ALIAS go on.")
_turning("cancel", "End the lap of ALIAS without a verdict; its feedback stays unread.")


@lap.command()
@click.option("--why", default="", help="Shown to whoever asks for a lap meanwhile.")
@takes_remote
def hold(remote: Remote, why: str) -> None:
    """Stop learning as a whole: no lap begins, and those that run rest."""
    remote.put("/v1/learning", {"paused": True, "why": why})
    click.echo("Learning is paused. Let it go on: anubhav lap unhold")


@lap.command()
@takes_remote
def unhold(remote: Remote) -> None:
    """Let learning go on."""
    remote.put("/v1/learning", {"paused": False})
    click.echo("Learning goes on.")


@lap.command()
@click.argument("alias", default="default")
@click.option("--every", metavar="6h", help="Time between laps: 30m, 6h, 1d.")
@click.option("--after", type=click.IntRange(1), metavar="N", help="Unread judgements that begin a lap.")
@click.option("--apart", metavar="10m", help="Laps are at least so far apart.")
@click.option("--off", is_flag=True, help="From now on laps are begun by hand.")
@takes_remote
def schedule(remote: Remote, alias: str, every: str | None, after: int | None, apart: str | None, *, off: bool) -> None:
    """Let ALIAS learn by itself; without options, show when it does."""
    place = f"/v1/learning/{alias}"
    if off:
        found = remote.delete(place)
    elif every or after or apart:
        told = {"every": every and _seconds(every), "after": after, **({"apart": _seconds(apart)} if apart else {})}
        found = remote.put(place, told)
    else:
        found = remote.get(place)
    click.echo(_schedule_line(found))


def watch(remote: Remote, lap_id: str, *, quiet: bool = False) -> dict[str, Any]:
    """Poll a lap until it ends, showing where it is; returns it as GET /v1/laps/<id> gives it."""
    progress = _Progress(shown=not quiet)
    while True:
        found = remote.get(f"/v1/laps/{lap_id}")
        progress.update(found)
        if found["state"] not in ("running", "paused"):
            progress.end()
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
    if found["state"] == "paused":
        return f"  paused. {report.get('rests_because') or 'Let it go on: anubhav lap resume ' + found['alias']}"
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


def _running_line(found: dict[str, Any]) -> str:
    report = found["report"]
    step = f", step {report['step']} of {report['steps']}" if found["phase"] in _STEPPING and "step" in report else ""
    told = f"{found['id']} of {found['alias']} is {found['state']}: {found['phase']}{step}"
    why = report.get("rests_because")
    return f"{told}\n  {why}\n  anubhav lap resume {found['alias']}, or cancel" if why else told


def _schedule_line(found: dict[str, Any]) -> str:
    timing = found["schedule"]
    if timing is None:
        return "Laps are begun by hand; anubhav lap schedule changes that."
    kinds = [
        *([f"every {timing['every'] / 3600:g} h"] if timing["every"] else []),
        *([f"after {timing['after']} judgements"] if timing["after"] else []),
    ]
    following = moment(found["next_at"]) if found["next_at"] else "when enough that is new was said"
    return f"A lap begins {' or '.join(kinds)}; the next: {following}"


def _lap_row(found: dict[str, Any]) -> dict[str, Any]:
    report = found["report"]
    oldest = report.get("staleness", {}).get("oldest_laps")
    why = found["verdict"]["reason"] if found["verdict"] else report.get("failure", found["phase"])
    return {
        **found,
        "when": moment(found["started_at"]),
        "outcome": found["outcome"] or found["state"],
        "oldest": None if oldest is None else f"{oldest} laps",
        "why": why,
    }


def _seconds(text: str) -> float:
    try:
        return float(text[:-1]) * _UNITS[text[-1:]]
    except (KeyError, ValueError) as problem:
        raise click.BadParameter(f"{text!r} is no time such as 30m, 6h or 1d") from problem
