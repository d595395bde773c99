"""`anubhav erase` and `anubhav policy`: remove somebody's words everywhere, and say what may be kept of anybody's."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from anubhav.cli.experience_files import free
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, takes_format


@click.command()
@click.argument("user")
@click.option("--tenant", help="Whose user it is; yours, unless you are the operator and name another.")
@click.option("--retrain", is_flag=True, help="Roll back what had learned from it and learn the rest anew.")
@takes_format
@takes_remote
def erase(remote: Remote, *, user: str, tenant: str | None, retrain: bool, form: Format) -> None:
    """Remove all that USER said and thought, at once, and list what was trained on it.

    Rows of files that `anubhav episodes export` wrote on this machine go too.
    """
    found = remote.post("/v1/erase", {"user": user, "tenant": tenant, "retrain": retrain})
    names = frozenset(found["names"])
    for export in found["exports"]:
        place = Path(export["place"])
        here = export["place"] and place.is_absolute() and place.is_file()
        export["freed_rows"] = free(place, names) if here else None
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if form == "json" else _report(found))


def _report(found: dict[str, Any]) -> str:
    lines = [f"{len(found['removed'])} episodes and {found['feedback']} judgements of {found['user']} are gone"]
    if found["memories"]:
        lines.append(f"{found['memories']} memories of theirs are gone")
    for export in found["exports"]:
        freed = export["freed_rows"]
        done = "delete it by hand" if freed is None else f"{freed} rows taken out"
        lines.append(f"exported {export['form']} to {export['place'] or 'somewhere'}: {done}")
    for lap in found["laps"]:
        how = "was trained on it" if lap["direct"] else "went on from what was"
        lines.append(
            f"{lap['lap']} of {lap['alias']} {how}: {', '.join(lap['checkpoints']) or 'no checkpoint is left'}"
        )
    for one in found["retraining"]:
        back = "rolled back, " if one["rolled_back"] else ""
        lines.append(f"{one['alias']}: {back}retraining: {one['state']} {one['lap'] or one['why']}".rstrip())
    return "\n".join(lines)


@click.command()
@click.argument("tenant")
@click.option("--train/--no-train", default=None, help="Whether laps may learn from what its users say.")
@click.option("--keep-days", type=float, help="Remove episodes after so many days; 0 keeps them.")
@click.option(
    "--redact", multiple=True, metavar="NAME[=REGEX]", help="email, phone, card, api-key, or one of your own."
)
@click.option("--no-redact", is_flag=True, help="Redact nothing any more.")
@takes_remote
def policy(
    remote: Remote,
    *,
    tenant: str,
    train: bool | None,
    keep_days: float | None,
    redact: tuple[str, ...],
    no_redact: bool,
) -> None:
    """Show what may be kept of and learned from the users of TENANT; change what is named."""
    where = f"/v1/policies/{quote(tenant)}"
    found = {key: value for key, value in remote.get(where).items() if key != "tenant"}
    changed: dict[str, Any] = dict(found)
    if train is not None:
        changed["train"] = train
    if keep_days is not None:
        changed["keep_days"] = keep_days or None
    if no_redact:
        changed["patterns"] = []
    for one in redact:
        name, _, regex = one.partition("=")
        others: list[Any] = [old for old in changed["patterns"] if old["name"] != name]
        changed["patterns"] = [*others, {"name": name, "regex": regex}]
    shown = remote.put(where, changed) if changed != found else {"tenant": tenant, **found}
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
