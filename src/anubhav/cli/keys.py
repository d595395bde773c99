"""`anubhav key`: API keys for others, what each may be used for, and how much their tenants may use."""

import re
from collections.abc import Callable
from typing import Any

import click

from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.tables import Format, moment, show, takes_format

_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def _limit(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """A number such as 200000, 1.5M or 10GB; -1 for `none`, and None when nothing was said."""
    if text is None or text.lower() == "none":
        return None if text is None else -1
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)b?", text.lower())
    if not found:
        raise click.BadParameter(f"{text!r} is neither a number such as 200000, 1.5M or 10GB nor none")
    return round(float(found[1]) * _SIZES[found[2]])


def _takes_limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each part of a quota; what is not named comes as None."""
    for name, text in (
        ("--queue", "Operations that wait, and besides as many samples under way."),
        ("--storage", "Bytes of checkpoints, e.g. 10GB."),
        ("--runs", "Training runs open at one time."),
        ("--tokens-a-day", "Tokens trained, sampled or read, e.g. 2M."),
    ):
        command = click.option(name, callback=_limit, metavar="NUMBER|none", help=text)(command)
    return command


@click.group()
def key() -> None:
    """Make, list and revoke API keys; set the quotas of their tenants."""


@key.command()
@click.option("--tenant", required=True, help="Whose key it is: what it makes is not seen by other tenants.")
@click.option("--note", default="", help="What it is for.")
@click.option("--operator", is_flag=True, help="May also run laps, roll back and make keys.")
@click.option("--prefix", type=click.Choice(["tml", "sk"]), default="tml", help="sk for MinT's SDK.", show_default=True)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["train", "sample", "read", "admin", "judge"]),
    multiple=True,
    help="What it may be used for; may be given several times. All, unless one is named.",
)
@_takes_limits
@takes_remote
def create(
    remote: Remote,
    *,
    tenant: str,
    note: str,
    operator: bool,
    prefix: str,
    scopes: tuple[str, ...],
    **limits: int | None,
) -> None:
    """Make an API key and print it; it is shown this once. Limits are the tenant's, for all its keys together."""
    asked: dict[str, Any] = {"tenant": tenant, "note": note, "operator": operator, "prefix": prefix}
    if scopes:
        asked["scopes"] = scopes
    if any(limit is not None for limit in limits.values()):
        asked["quota"] = _merged(remote.get(f"/v1/quotas/{tenant}")["quota"], limits)
    click.echo(remote.post("/v1/keys", asked)["key"])


@key.command()
@click.argument("tenant")
@_takes_limits
@takes_format
@takes_remote
def quota(remote: Remote, *, tenant: str, form: Format, **limits: int | None) -> None:
    """Show what TENANT may use and what it uses now; change the limits that are named."""
    found = remote.get(f"/v1/quotas/{tenant}")
    if any(limit is not None for limit in limits.values()):
        found = remote.put(f"/v1/quotas/{tenant}", _merged(found["quota"], limits))
    names = {"tokens_a_day": "tokens_today"}
    rows = [
        {"what": name, "used": found["used"][names.get(name, name)], "limit": limit}
        for name, limit in found["quota"].items()
    ]
    show(rows, ("what", "used", "limit"), form, empty="")


def _merged(quota: dict[str, int | None], limits: dict[str, int | None]) -> dict[str, int | None]:
    named = {("storage_bytes" if name == "storage" else name): limit for name, limit in limits.items()}
    return quota | {name: None if limit == -1 else limit for name, limit in named.items() if limit is not None}


@key.command("list")
@takes_format
@takes_remote
def list_keys(remote: Remote, *, form: Format) -> None:
    """Show whose keys there are; the keys themselves are known to their holders alone."""
    keys = _all(remote)
    if form == "table":
        keys = [
            one
            | {"made": moment(one["created_at"]), "revoked": moment(one["revoked_at"])}
            | {"scopes": " ".join(one["scopes"])}
            for one in keys
        ]
    columns = ("id", "tenant", "operator", "scopes", "made", "revoked", "note")
    show(keys, columns, form, empty="There is no key yet.")


def _all(remote: Remote) -> list[dict[str, Any]]:
    """Page after page; those made first come first."""
    page = remote.get("/v1/keys", limit=100)
    keys: list[dict[str, Any]] = page["data"]
    while page["next"]:
        page = remote.get("/v1/keys", limit=100, before=page["next"])
        keys += page["data"]
    return keys[::-1]


@key.command()
@click.argument("key_id", metavar="ID")
@takes_remote
def revoke(remote: Remote, *, key_id: str) -> None:
    """End the key ID, and whatever is signed in with it."""
    remote.delete(f"/v1/keys/{key_id}")
    click.echo(f"{key_id} is revoked")
