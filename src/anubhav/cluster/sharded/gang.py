"""A gang of processes, one for each rank: begun together, asked together, ended together.

Every call has a deadline. A rank that dies, is late, or fails in a way nobody agreed on takes the whole gang with it:
collectives cannot go on without one, and what the others hold is then worth nothing. Who dies or is late may do better
the next time, so that is `Lost`; a failure of its own would come again, so it is told as it is. Nothing is repeated
from here.
"""

import logging
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch.distributed as dist

from anubhav.backends.torch.failures import told
from anubhav.cluster.sharded.agreeing import Elsewhere
from anubhav.cluster.sharded.worker import Address, Plan, Worker
from anubhav.errors import AnubhavError, Broken, Lost

_MODELS = tuple(
    f"transformers.models.{name}.modeling_{name}" for name in ("llama", "qwen3", "qwen3_moe", "deepseek_v3")
)
"""Loaded before ranks are forked, as each would take a second for it."""
_GRACE = 5.0
"""Seconds for the others to say that they failed too."""

log = logging.getLogger(__name__)


class Gang:
    def __init__(self, plan: Plan, *, deadline: float) -> None:
        """Starts the processes, which load the base. Raises as `call` does, and leaves nothing behind."""
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        context = _context(plan.device)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(plan.layout.world):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), name=f"rank-{rank}", daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        address = Address("127.0.0.1", self._store.port)
        arguments = [(rank, plan.layout.world, address, plan) for rank in range(plan.layout.world)]
        try:
            self._ask("setup", arguments, {}, deadline)
        except BaseException:
            self.end()
            raise

    @property
    def alive(self) -> bool:
        return bool(self._processes)

    def call(self, method: str, *args: Any, deadline: float, **named: Any) -> list[Any]:
        """What each rank answers, by rank. Raises what all of them raise.

        Raises Lost when one died or was late, and Broken when one failed by itself; then there is no gang any more.
        """
        return self._ask(method, [args] * len(self._pipes), named, deadline)

    def end(self) -> None:
        """Kill all of them."""
        for process in self._processes:
            process.kill()
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            process.close()
            pipe.close()
        self._processes, self._pipes = [], []

    def _ask(self, method: str, args: Sequence[tuple[Any, ...]], named: dict[str, Any], deadline: float) -> list[Any]:
        try:
            for pipe, own in zip(self._pipes, args, strict=True):
                pipe.send((method, own, named))
            answers = self._collect(method, deadline)
        except (OSError, EOFError) as problem:
            raise self._lost(f"a rank died during {method}") from problem
        failures = [answer for answer in answers if isinstance(answer, AnubhavError)]
        if len(failures) == len(answers):
            raise next((one for one in failures if not isinstance(one, Elsewhere)), failures[0])
        if failures:
            self.end()
            raise Broken(f"Some ranks failed at {method}, and others did not: {failures[0].message}")
        return answers

    def _collect(self, method: str, deadline: float) -> list[Any]:
        answers: list[Any] = [None] * len(self._pipes)
        waiting: dict[Any, int] = {pipe: rank for rank, pipe in enumerate(self._pipes)}
        end = time.monotonic() + deadline
        while waiting:
            sentinels = [self._processes[rank].sentinel for rank in waiting.values()]
            ready = wait([*waiting, *sentinels], max(0.0, end - time.monotonic()))
            if not ready:
                raise self._lost(f"{method} took longer than {deadline:.0f} s")
            for pipe in [one for one in waiting if one in ready or one.poll()]:
                answer = pipe.recv()
                answers[waiting.pop(pipe)] = answer
                if isinstance(answer, _Fault):
                    raise self._faulty(method, answer.failure)
                if isinstance(answer, AnubhavError):
                    end = min(end, time.monotonic() + _GRACE)
            if any(not self._processes[rank].is_alive() and not pipe.poll() for pipe, rank in waiting.items()):
                raise self._lost(f"a rank died during {method}")
        return answers

    def _faulty(self, method: str, failure: AnubhavError) -> AnubhavError:
        if any(not process.is_alive() for process in self._processes):
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


@dataclass(frozen=True, slots=True)
class _Fault:
    """What a rank answers when it is out of step with the others."""

    failure: AnubhavError


def _context(device: str) -> Any:
    """A server that has the libraries loaded forks ranks in no time; CUDA wants processes of their own."""
    if device == "cuda":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["anubhav.cluster.sharded.worker", *_MODELS])
    return context


def _serve(pipe: Connection) -> None:
    """The life of a rank's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent says when to end
    worker = Worker()
    while True:
        try:
            method, args, named = pipe.recv()
        except EOFError:  # the parent is gone
            return
        pipe.send(_answer(getattr(worker, method), args, named))


def _answer(method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    try:
        return method(*args, **named)
    except AnubhavError as failure:
        return failure
    except Exception as problem:  # noqa: BLE001 - told to the parent, which ends the gang
        return _Fault(told(problem))
