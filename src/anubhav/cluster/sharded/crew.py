"""The processes of a gang as it sees them, wherever they run: asked by rank, heard as they answer, ended together.

An answer is a value, so that it crosses any border as it is: what a `Worker` returns, a failure that all ranks share,
or a `Fault`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from anubhav.backends.torch.failures import told
from anubhav.cluster.sharded.worker import Address, Plan
from anubhav.errors import AnubhavError


class Crew(Protocol):
    """One process for each rank, from when it is made. Only `look` may be called beside another call."""

    def meet(self, plan: Plan) -> Address:
        """Where the ranks will find one another. Raises what keeps one of them from beginning."""
        ...

    def send(self, rank: int, method: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """A call of a `Worker`'s method. Raises Died."""
        ...

    def hear(self, ranks: Collection[int], seconds: float) -> Mapping[int, Any]:
        """The answers that are there, waiting so long for the first of these ranks. Raises Died when one is dead."""
        ...

    @property
    def whole(self) -> bool:
        """Nobody is dead."""
        ...

    def look(self) -> list[dict[str, Any]]:
        """Each rank: `alive`, `pid`, and its `node` if that may be another one."""
        ...

    def end(self) -> None:
        """Kill all of them. Safe to call twice."""
        ...


class Died(Exception):
    """A process is gone, or does not answer any more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rank answers when it is out of step with the others."""

    failure: AnubhavError


def answer(method: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """For a process of a crew."""
    try:
        return method(*args, **named)
    except AnubhavError as failure:
        return failure
    except Exception as problem:  # noqa: BLE001 - told to the gang, which ends
        return Fault(told(problem))
