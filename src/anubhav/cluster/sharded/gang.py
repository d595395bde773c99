"""A gang of processes, one for each rank: begun together, asked together, ended together.

Every call has a deadline. A rank that dies, is late, or fails in a way nobody agreed on takes the whole gang with it:
collectives cannot go on without one, and what the others hold is then worth nothing. Who dies or is late may do better
the next time, so that is `Lost`; a failure of its own would come again, so it is told as it is. Nothing is repeated
from here.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any

from anubhav.cluster.sharded.agreeing import Elsewhere
from anubhav.cluster.sharded.crew import Crew, Died, Fault
from anubhav.cluster.sharded.worker import Address, Plan
from anubhav.errors import AnubhavError, Broken, Lost

_GRACE = 5.0
"""Seconds for the others to say that they failed too."""

log = logging.getLogger(__name__)


class Gang:
    def __init__(self, crew: Crew, plan: Plan, *, deadline: float) -> None:
        """Has the crew load the base. Raises as `call` does, and leaves nothing behind."""
        self.crew, self._size = crew, plan.layout.ranks
        self.alive = True
        try:
            address = self._meet(plan)
            self._ask("setup", [(rank, self._size, address, plan) for rank in range(self._size)], {}, deadline)
        except BaseException:
            self.end()
            raise

    def _meet(self, plan: Plan) -> Address:
        try:
            return self.crew.meet(plan)
        except Died as problem:
            raise self._lost("a rank died as it began") from problem

    def call(self, method: str, *args: Any, deadline: float, **named: Any) -> list[Any]:
        """What each rank answers, by rank. Raises what all of them raise.

        Raises Lost when one died or was late, and Broken when one failed by itself; then there is no gang any more.
        """
        return self._ask(method, [args] * self._size, named, deadline)

    def end(self) -> None:
        self.alive = False
        self.crew.end()

    def _ask(self, method: str, args: Sequence[tuple[Any, ...]], named: dict[str, Any], deadline: float) -> list[Any]:
        try:
            for rank, own in enumerate(args):
                self.crew.send(rank, method, own, named)
            answers = self._collect(method, deadline)
        except Died as problem:
            raise self._lost(f"a rank died during {method}") from problem
        failures = [answer for answer in answers if isinstance(answer, AnubhavError)]
        if len(failures) == len(answers):
            raise next((one for one in failures if not isinstance(one, Elsewhere)), failures[0])
        if failures:
            self.end()
            raise Broken(f"Some ranks failed at {method}, and others did not: {failures[0].message}")
        return answers

    def _collect(self, method: str, deadline: float) -> list[Any]:
        answers: dict[int, Any] = {}
        end = time.monotonic() + deadline
        while len(answers) < self._size:
            waiting = [rank for rank in range(self._size) if rank not in answers]
            heard = self.crew.hear(waiting, max(0.0, end - time.monotonic()))
            if not heard:
                raise self._lost(f"{method} took longer than {deadline:.0f} s")
            for answer in heard.values():
                if isinstance(answer, Fault):
                    raise self._faulty(method, answer.failure)
                if isinstance(answer, AnubhavError):
                    end = min(end, time.monotonic() + _GRACE)
            answers |= heard
        return [answers[rank] for rank in range(self._size)]

    def _faulty(self, method: str, failure: AnubhavError) -> AnubhavError:
        if not self.crew.whole:
            return self._lost(f"a rank died during {method}")  # and this one only noticed it first
        self.end()
        return failure

    def _lost(self, reason: str) -> Lost:
        log.error("the trainer's gang is ended: %s", reason)
        self.end()
        return Lost(
            f"The trainer's processes were lost: {reason}",
            hint="They are started again at the next request; load the last checkpoint and go on from there.",
        )
