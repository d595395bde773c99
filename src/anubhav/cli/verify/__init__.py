"""`anubhav verify URL`: does a Tinker server compute what the protocol promises? Any server, the stock SDK."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from anubhav.cli.tables import Format, layout, takes_format
from anubhav.cli.verify.checks import CLAIMS, Claim
from anubhav.errors import AnubhavError, BadInput, MissingPart

if TYPE_CHECKING:
    from tinker import RestClient, ServiceClient

_MARKS = {True: "ok", False: "FAILED"}


@dataclass(frozen=True, slots=True)
class Finding:
    claim: str
    difference: float | None
    """None when the server refused; `trouble` says how."""
    bound: float
    seconds: float
    trouble: str = ""

    @property
    def holds(self) -> bool:
        return self.difference is not None and self.difference <= self.bound


@click.command()
@click.argument("url")
@click.option("--model", help="A base model of that server; its first by default.")
@click.option("--key", envvar="TINKER_API_KEY", required=True, help="Its API key; TINKER_API_KEY.")
@click.option("--base", help="The base model's folder here, or its hub name: compare with PEFT too.")
@takes_format
def verify(url: str, model: str | None, key: str, base: str | None, form: Format) -> None:
    """Check the numbers of the Tinker server at URL: sampler against trainer, parts against whole, resumed against
    straight, one loss against another; with --base also each loss against plain autograd on this machine. Makes small
    training runs there and checkpoints named `verify…`.

    Exits with 1 when a claim does not hold. Needs the SDK: pip install tinker torch. With --base: transformers peft
    """
    try:
        import tinker
    except ImportError as problem:
        raise MissingPart("The Tinker SDK is not installed", hint="Type: pip install tinker") from problem
    try:
        with tinker.ServiceClient(base_url=url, api_key=key) as service:
            rest = tinker.RestClient(base_url=url, api_key=key)
            served = [one.model_name for one in rest.get_server_capabilities().result().supported_models]
            chosen = model or next((name for name in served if name), None)
            if chosen is None or (model and model not in served):
                raise BadInput(f"{url} does not serve {model or 'any model'}", hint=f"It serves: {served}")
            found = list(_examine(service, chosen, _claims(base, rest), quiet=form == "json"))
    except (tinker.TinkerError, ValueError) as problem:
        raise AnubhavError(f"The server at {url} could not be examined: {problem}") from problem
    click.echo(
        json.dumps([asdict(one) | {"holds": one.holds} for one in found], indent=2) if form == "json" else _table(found)
    )
    if not all(one.holds for one in found):
        raise click.exceptions.Exit(1)


def _claims(base: str | None, rest: "RestClient") -> tuple[Claim, ...]:
    if base is None:
        return CLAIMS
    from anubhav.cli.verify.parity import parity_claims  # transformers takes seconds to import

    return (*CLAIMS, *parity_claims(base, rest))


def _examine(service: "ServiceClient", model: str, claims: tuple[Claim, ...], *, quiet: bool) -> Iterator[Finding]:
    for claim in claims:
        found = _measure(service, model, claim)
        if not quiet:
            click.echo(f"  {_MARKS[found.holds]:<7} {claim.name}", err=True)
        yield found


def _measure(service: "ServiceClient", model: str, claim: Claim) -> Finding:
    import tinker

    started = time.monotonic()
    difference, trouble = None, ""
    try:
        difference = claim.measure(service, model)
    except (tinker.TinkerError, ValueError) as problem:
        trouble = " ".join(str(problem).split())[:120]
    return Finding(claim.name, difference, claim.bound, round(time.monotonic() - started, 2), trouble)


def _table(found: list[Finding]) -> str:
    lines = [("claim", "difference", "bound", "seconds", "")]
    for one in found:
        shown = f"{one.difference:.1e}" if one.difference is not None else "-"
        lines.append((one.claim, shown, f"{one.bound:.0e}", f"{one.seconds:.1f}", one.trouble or _MARKS[one.holds]))
    held = sum(one.holds for one in found)
    return f"{layout(lines)}\n\n{held} of {len(found)} claims hold"
