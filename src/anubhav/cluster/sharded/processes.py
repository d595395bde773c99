"""A crew of this machine's processes, each spoken to through a pipe."""

import multiprocessing
import signal
from collections.abc import Collection, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

import torch.distributed as dist

from anubhav.cluster.sharded.crew import Died, answer
from anubhav.cluster.sharded.worker import Address, Plan, Worker

_HOST = "127.0.0.1"
_MODELS = tuple(
    f"transformers.models.{name}.modeling_{name}" for name in ("llama", "qwen3", "qwen3_moe", "deepseek_v3")
)
"""Loaded before ranks are forked, as each would take a second for it."""


class Processes:
    def __init__(self, plan: Plan) -> None:
        context = _context(plan.device)
        self._store: dist.TCPStore | None = None
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for rank in range(plan.layout.ranks):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), name=f"rank-{rank}", daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._pids = [process.pid for process in self._processes]

    def meet(self, plan: Plan) -> Address:
        self._store = dist.TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)
        return Address(_HOST, self._store.port)

    def send(self, rank: int, method: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        try:
            self._pipes[rank].send((method, args, named))
        except OSError as problem:
            raise Died from problem

    def hear(self, ranks: Collection[int], seconds: float) -> Mapping[int, Any]:
        pipes = {self._pipes[rank]: rank for rank in ranks}
        ready = wait([*pipes, *(self._processes[rank].sentinel for rank in ranks)], seconds)
        try:
            answers = {rank: pipe.recv() for pipe, rank in pipes.items() if pipe in ready or (ready and pipe.poll())}
        except (OSError, EOFError) as problem:
            raise Died from problem
        if ready and not answers:
            raise Died
        return answers

    @property
    def whole(self) -> bool:
        return all(process.is_alive() for process in self._processes)

    def look(self) -> list[dict[str, Any]]:
        # Sentinels are looked at and not read: what one thread reads of them is gone for the other.
        processes = list(self._processes)
        try:
            sentinels = [process.sentinel for process in processes]
            dead = wait(sentinels, 0)
        except (OSError, ValueError):  # ended meanwhile
            sentinels, dead = [], []
        alive = [rank for rank, sentinel in enumerate(sentinels) if sentinel not in dead]
        return [{"pid": pid, "alive": rank in alive} for rank, pid in enumerate(self._pids)]

    def end(self) -> None:
        processes, self._processes = self._processes, []
        for process in processes:
            process.kill()
        for process, pipe in zip(processes, self._pipes, strict=False):
            process.join()
            process.close()
            pipe.close()


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
        pipe.send(answer(getattr(worker, method), args, named))
