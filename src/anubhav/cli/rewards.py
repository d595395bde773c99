"""`anubhav rewards`: what the reward model makes of people's judgements, and whom it believes."""

import json
from typing import Any

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format

_SHOWN = ("events", "accuracy", "reliable_accuracy", "log_loss", "ece", "drift", "gain", "audit_gain")


@click.command()
@click.argument("alias", default="default")
@click.option("--trust", metavar="RATER", help="Believe this rater, without caps.")
@click.option("--quarantine", metavar="RATER", help="Take back what this rater said, and listen no more.")
@click.option("--unmark", metavar="RATER", help="Judge this rater by their record again.")
@click.option("--implied/--no-implied", default=None, help="Whether thanks and repeated questions count, weakly.")
@takes_format
@takes_remote
def rewards(
    remote: Remote,
    alias: str,
    trust: str | None,
    quarantine: str | None,
    unmark: str | None,
    *,
    implied: bool | None,
    form: Format,
) -> None:
    """Show how well the reward model of ALIAS predicts people, its alarms, and its raters."""
    for rater, mark in ((trust, "trusted"), (quarantine, "quarantined"), (unmark, None)):
        if rater:
            remote.post("/v1/raters", {"rater": rater, "mark": mark})
    if implied is not None:
        remote.put(f"/v1/rewards/{alias}", {"implied": implied})
    found = remote.get(f"/v1/rewards/{alias}")
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    _tell(found, form)


def _tell(found: dict[str, Any], form: Format) -> None:
    figures = found["figures"]
    click.echo(f"{found['alias']}: {found['steps']} judgements learned from, {found['audited']} held out for the audit")
    if found["behind"]:
        click.echo(f"{found['behind']} more are waiting to be learned from")
    show(
        [{"figure": name.replace("_", " "), "value": figures[name]} for name in _SHOWN if name in figures],
        ("figure", "value"),
        form,
        empty="No figures yet: give feedback first.",
    )
    click.echo()
    alarms = [
        {**one, "since": moment(one["since"]), "figures": ", ".join(f"{k} {v:.2f}" for k, v in one["figures"].items())}
        for one in found["alarms"]
    ]
    show(alarms, ("name", "since", "figures"), form, empty="No alarm.")
    click.echo()
    show(
        found["raters"],
        ("name", "trust", "votes", "agreed", "disagreed", "held", "quarantined", "mark"),
        form,
        empty="No rater yet.",
    )
