"""`anubhav releases`, `rollback`, `canary` and `lift`: what an alias answers with, to whom, and how to go back."""

import getpass
import json
from datetime import date, timedelta
from typing import Any

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format

_LIFT = ("when", "people", "release", "base", "lift", "interval")
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
@click.option("--to", metavar="RELEASE", help="An earlier release, as `anubhav releases` names it.")
@takes_remote
def rollback(remote: Remote, alias: str, why: str, to: str | None) -> None:
    """Go back to what ALIAS answered with before; the next request already gets it.

    While a candidate is tried out, that is given up and the release stays.
    """
    told = {"alias": alias, "why": why, "who": getpass.getuser(), **({"to": to} if to else {})}
    release = remote.post("/v1/rollback", told)
    if release["action"] == "discard":
        click.echo(f"{alias} no longer tries out {release['path']} ({release['id']})")
        return
    click.echo(f"{alias} now answers with {release['path'] or 'the base model'} ({release['id']})")


@click.command()
@click.argument("alias", default="default")
@click.option(
    "--steps", metavar="1,5,25,100", help="Percent of the people who hear a candidate; `none` is all at once."
)
@click.option("--least-people", type=click.IntRange(1), help="Who judged, on either side, before a step is left.")
@click.option("--least-replies", type=click.IntRange(1), help="Judged replies of the candidate before a step is left.")
@click.option("--margin", type=click.FloatRange(0, 2), help="How far behind a candidate may be and still go on.")
@click.option("--shadow", metavar="REPLIES|off", help="Live prompts a candidate answers unheard first; `off` is none.")
@click.option("--holdback", type=click.IntRange(0, 50), help="Percent answered by the frozen base, to measure lift.")
@takes_format
@takes_remote
def canary(
    remote: Remote, alias: str, steps: str | None, shadow: str | None, *, form: Format, **changes: float | None
) -> None:
    """Show or change how ALIAS releases, and how what is tried out now stands."""
    found = remote.get(f"/v1/release-policies/{alias}")
    wanted: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if steps is not None:
        wanted["steps"] = _percents(steps)
    if shadow is not None:
        wanted["shadow"] = _replies(shadow)
    if wanted:
        before = {name: value for name, value in found["policy"].items() if name != "since"}
        found = remote.put(f"/v1/release-policies/{alias}", {**before, **wanted})
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    policy = found["policy"]
    shares = " → ".join(f"{step} %" for step in policy["steps"]) or "everybody at once"
    if policy["steps"] and policy["shadow"]:
        shares = f"{policy['shadow']} prompts in the shadow → {shares}"
    click.echo(f"{alias} releases to {shares}; {policy['holdback']} % are answered by the frozen base")
    now = found["trial"]
    click.echo("\n".join(_trial_lines(now, policy["shadow"])) if now else "Nothing is tried out.")
    ended = [{**one, "when": moment(one["ended_at"])} for one in found["trials"] if one["state"] != "running"]
    show(ended, ("id", "state", "path", "reason", "when"), form, empty="Nothing was tried out before.")


@click.command()
@click.argument("alias", default="default")
@takes_format
@takes_remote
def lift(remote: Remote, alias: str, form: Format) -> None:
    """Show how much better ALIAS is liked than its frozen base, by people who hear the one or the other."""
    found = remote.get(f"/v1/lift/{alias}")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if found["why"]:
        click.echo(f"No figure: {found['why']}")
        return
    rows = [("all", found["overall"]), *((_date(day), one) for day, one in found["days"])]
    show([_lift_row(name, one) for name, one in rows], _LIFT, form, empty="")


def _percents(steps: str) -> list[int]:
    try:
        return [] if steps == "none" else [int(step) for step in steps.split(",")]
    except ValueError as problem:
        raise click.BadParameter("give percentages such as 1,5,25,100, or none", param_hint="--steps") from problem


def _replies(shadow: str) -> int:
    if shadow == "off":
        return 0
    if not shadow.isdecimal():
        raise click.BadParameter("give a number of replies such as 20, or off", param_hint="--shadow")
    return int(shadow)


def _trial_lines(now: dict[str, Any], wanted: int) -> list[str]:
    heard = f"heard by {now['percent']} %" if now["stage"] == "canary" else "heard by nobody yet"
    lines = [f"{now['path']} is {heard}, since {moment(now['since'])}"]
    shadowed = now["stage"] == "shadow"
    if seen := now["shadow"]:
        lines.append(_shadow_line(seen, f" of {wanted}" if shadowed else ""))
    if shadowed:
        return lines if seen else [*lines, f"0 of {wanted} prompts in the shadow"]
    one = now["difference"]
    lines.append(
        f"{one['difference']:+.2f} (always valid 95 % {one['low']:+.2f} … {one['high']:+.2f})"
        if one
        else f"{now['people']} people judged both sides so far"
    )
    mine, others = now["failures"]["canary"], now["failures"]["stable"]
    lines.append(
        f"{mine['failed']} of its {mine['replies']} replies failed, {others['failed']} of the release's"
        f" {others['replies']}"
    )
    return lines


def _shadow_line(seen: dict[str, Any], wanted: str) -> str:
    line = (
        f"{seen['replies']}{wanted} prompts in the shadow: {seen['failed'][0]} failed against {seen['failed'][1]},"
        f" {seen['tokens'][0]:.0f} tokens against {seen['tokens'][1]:.0f}"
    )
    if all(seen["pace"]):
        line += f", {1000 * seen['pace'][0]:.0f} ms a token against {1000 * seen['pace'][1]:.0f}"
    if seen["difference"]:
        away, low, high = seen["difference"]
        line += f", the critic's {away:+.2f} (95 % {low:+.2f} … {high:+.2f})"
    return line


def _lift_row(name: str, one: dict[str, Any]) -> dict[str, Any]:
    release, base = one["means"]
    return {
        "when": name,
        "people": f"{one['people'][0]} / {one['people'][1]}",
        "release": f"{release:+.2f}",
        "base": f"{base:+.2f}",
        "lift": f"{one['difference']:+.2f}",
        "interval": f"{one['low']:+.2f} … {one['high']:+.2f}",
    }


def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()
