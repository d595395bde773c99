"""Processes under measurement: workers that are told jobs, servers that are waited for, and what memory they took."""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.stand.environments import NotRun

BENCHMARKS = Path(__file__).parents[1]
Side = Literal["ours", "peer"]
_STOP_SECONDS = 40


@dataclass(frozen=True)
class Running:
    """A started process, its own children included, and where it logs."""

    process: "subprocess.Popen[str]"
    log: Path
    side: Side

    def gone(self, why: str) -> NotRun:
        """The error to raise when it cannot be measured."""
        return NotRun(why, side=self.side)

    def tail(self) -> str:
        """The last telling line of its log, for a message."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][-300:] if lines else "it said nothing"

    def family(self) -> list[int]:
        """Process ids of it and of everything it started."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
        found = [self.process.pid]
        for each in found:
            found += children.get(each, [])
        return found

    def peak_bytes(self) -> int:
        """The sum of each process's highest resident memory since `forget_peak`."""
        return sum(_high_water(each) for each in self.family())

    def forget_peak(self) -> None:
        for each in self.family():
            Path(f"/proc/{each}/clear_refs").write_text("5")


def _high_water(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextmanager
def started(
    command: list[str], *, told: Mapping[str, str] | None = None, cwd: Path | None = None, side: Side = "peer"
) -> Generator[Running]:
    """The process with pipes to it, in a group of its own, which is ended whole at the end."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        log = Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, cwd=cwd,
                env={**os.environ, **(told or {})}, start_new_session=True,
            )  # fmt: skip
        try:
            yield Running(process, log, side)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            # A job that never arrived is still in the pipe of a process that ended by itself.
            with suppress(BrokenPipeError):
                pipe.close()


class Worker:
    """One engine behind a line (stand/jobs.py)."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._lost = ""

    def call(self, job: str, *, within: float = 900, **words: Any) -> Any:
        """The job's result. Raises NotRun when it failed, took too long or took the process with it."""
        if self._lost:
            # An answer that came too late would be taken for that of the next job.
            raise self.running.gone(self._lost)
        line, answers = self.running.process.stdin, self.running.process.stdout
        assert line is not None, "started with pipes"
        assert answers is not None, "started with pipes"
        try:
            line.write(json.dumps({"job": job, "words": words}) + "\n")
            line.flush()
        except BrokenPipeError:
            raise self.running.gone(f"its process ended: {self.running.tail()}") from None
        if not select.select([answers], [], [], within)[0]:
            self._lost = f"{job} was not done after {within:.0f} s"
            raise self.running.gone(self._lost)
        said = answers.readline()
        if not said:
            raise self.running.gone(f"its process ended during {job}: {self.running.tail()}")
        told = json.loads(said)
        if "failed" in told:
            raise self.running.gone(f"{job}: {told['failed']}")
        return told["result"]


@contextmanager
def worker(
    python: Path | str, module: str, told: Mapping[str, str] | None = None, side: Side = "peer"
) -> Generator[Worker]:
    """`benchmarks.workers.<module>` under the given interpreter."""
    command = [str(python), "-m", f"benchmarks.workers.{module}"]
    with started(command, told=told, cwd=BENCHMARKS.parent, side=side) as running:
        yield Worker(running)


def await_ready(running: Running, ready: Callable[[], bool], within: float) -> None:
    """Raises NotRun when the server ended, or is not ready in time."""
    deadline = time.monotonic() + within
    while not ready():
        if running.process.poll() is not None:
            raise running.gone(f"its server ended: {running.tail()}")
        if time.monotonic() > deadline:
            raise running.gone(f"its server was not ready after {within:.0f} s: {running.tail()}")
        time.sleep(0.2)


def note(text: str) -> None:
    """What is going on, for whoever watches; standard output is for results."""
    print(f"· {text}", file=sys.stderr, flush=True)
