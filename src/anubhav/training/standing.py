"""Where an operation stands that has no outcome yet: what comes before it, and who takes turns with it."""

from collections.abc import Iterable
from dataclasses import dataclass

from anubhav.training.turnstile import Turnstile
from anubhav.types.ids import RunId


@dataclass(frozen=True, slots=True)
class Standing:
    begun: bool
    """Its run is at it: it has its turns now."""
    ahead: int = 0
    """Operations of its own run that come first."""
    runs: int = 0
    """Other runs of its tenant with work for the same engine. Each of them is one operation before the engine."""
    others: int = 0
    """Operations of other tenants for the same engine, which gives each tenant its turn."""
    hitch: str | None = None
    """What keeps its run from going on, if anything but work does."""


def stand(turnstiles: Iterable[Turnstile], run: RunId, seq: int, hitch: str | None) -> Standing:
    """`turnstiles`: of all runs with work in this process."""
    busy = {turnstile.run.id: turnstile for turnstile in turnstiles if turnstile.held}
    own = busy.get(run)
    if own is None:
        return Standing(begun=False, hitch=hitch)
    beside = [other for other in busy.values() if other is not own and other.trainer is own.trainer]
    return Standing(
        begun=own.at_work == seq,
        ahead=sum(held < seq for held in own.held),
        runs=sum(other.run.tenant == own.run.tenant for other in beside),
        others=sum(len(other.held) for other in beside if other.run.tenant != own.run.tenant),
        hitch=hitch,
    )
