"""What a tenant may use: tokens a day, runs, bytes, places in the queues. A face turns each refusal into its status."""

import time
from dataclasses import dataclass

from anubhav.errors import Busy, NotAllowed, Spent

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Quota:
    """None is no limit. What was accepted before a limit is reached, or set, is still done."""

    tokens_a_day: int | None = None
    """Trained, sampled or read as a prompt; the day is UTC's."""
    runs: int | None = None
    """Open at one time."""
    storage_bytes: int | None = None
    """Of checkpoints and uploaded files. A copy counts like its source."""
    queue: int | None = None
    """Operations that wait, and besides as many requests for samples under way."""

    def check_tokens(self, used: int) -> None:
        if self.tokens_a_day is not None and used >= self.tokens_a_day:
            left = _DAY - time.time() % _DAY
            raise Spent(
                f"The {self.tokens_a_day} tokens a day of this tenant are used up ({used} today)",
                hint=f"There are more in {left / 3600:.1f} hours, at 00:00 UTC, or when the operator raises the quota.",
            )

    def check_runs(self, opened: int) -> None:
        if self.runs is not None and opened >= self.runs:
            raise NotAllowed(
                f"{opened} runs of this tenant are open, and its quota is {self.runs}",
                hint="Finish a session with runs you need no more, or ask the operator for a larger quota.",
            )

    def check_storage(self, used: int, more: int = 0) -> None:
        """`more` bytes are to come; 0 when that is not known yet."""
        if self.storage_bytes is not None and used + max(more, 1) > self.storage_bytes:
            needed = f", {more} more are needed," if more else ""
            raise NotAllowed(
                f"This tenant's checkpoints and files have {used} bytes{needed} and its quota is {self.storage_bytes}",
                hint="Delete some (`tinker checkpoint delete`), or ask the operator for a larger quota.",
            )

    def check_queue(self, waiting: int) -> None:
        if self.queue is not None and waiting >= self.queue:
            raise Busy(
                f"{waiting} requests of this tenant wait already, and its quota is {self.queue}",
                hint="Wait for some of their results.",
                retry_after=2,
            )


@dataclass(frozen=True, slots=True)
class Use:
    """What a tenant uses now, in the same four words."""

    tokens_today: int
    runs: int
    storage_bytes: int
    queue: int
    """Operations that wait."""


def today() -> int:
    """The number of the day, as used tokens are counted by it."""
    return int(time.time() // _DAY)
