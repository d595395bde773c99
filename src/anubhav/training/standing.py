"""Where an operation stands that has no outcome yet: what comes before it, and who takes turns with it."""

from collections import Counter
from collections.abc import Callable, Iterable
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


def census(turnstiles: Iterable[Turnstile], hitch: Callable[[RunId], str | None]) -> Counter[str]:
    """Operations without an outcome: `active` at their trainers, `waiting` for their turn, and `held` up.

    Held up is what came before an operation in front of it did, and what a full disk or a stopped engine keeps.
    """
    found = Counter({"active": 0, "waiting": 0, "held": 0})
    for one in turnstiles:
        kept = bool(hitch(one.run.id)) or not one.due
        active = 0 if one.at_work is None or kept else 1
        found["active"] += active
        found["held" if kept else "waiting"] += len(one.held) - active
    return found


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
