"""What can the server itself bear? A very long queue of samples over many replicas, whose engine is simulated.

    python -m benchmarks.scale.capacity [--replicas 64] [--requests 100000] [--tenants 8] [--rows 8] [--tokens 8]
                                        [--pace 0.1] [--prompt 32] [--connections 4]

Simulated: the engines (a token of each row every `--pace` seconds, `--rows` rows a replica, tenants by turns) and Ray's
wire (what would cross it is pickled and read again in this process). Real: HTTP, sessions, promises, quotas, the store,
posts, the choice of a replica, and streams heard. The client is another process, which asks over Tinker's wire and
learns from one long poll a tenant what is ready; no replica speaks before all requests are queued.

Flat is what costs as much at the end as at the beginning: the processor's time a request of the first and of the last
tenth, of those that were accepted and of those that were fetched. The engines and hosts are in this process, so their
own time is in it. `fairness` is Jain's index over what the tenants had when half of all was done. The last line is one
JSON object.
"""

import argparse
import asyncio
import gc
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from anubhav import app
from anubhav.cluster.opening import Choices
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.settings import Settings
from anubhav.types.models import Model
from benchmarks.loop.table import NAME, write_table
from benchmarks.scale.simulated import Gate, SimulatedEngine
from benchmarks.serve.gateway import hosted
from benchmarks.stand.figures import table
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.processes import Worker, note, worker

CLAIM = "A request costs the server as much with 100,000 samples queued over 64 replicas as with few."
_VOCABULARY = 258
_PHASES = {"/api/v1/asample": "accepted", "/api/v1/retrieve_future": "fetched"}
_PARTS = 10
_FLAT = 1.5
"""Last tenth ÷ first tenth."""
_HOUR = 3600.0


@dataclass
class Seen:
    """Every request, by the end of it: this process's processor time so far, and the clock."""

    app: ASGIApp
    count: int
    polls: int = 0
    marks: dict[str, list[tuple[float, float]]] = field(default_factory=dict[str, list[tuple[float, float]]])
    queued_bytes: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
        path = scope.get("path", "")
        self.polls += path == "/api/v1/retrieve_futures"
        if phase := _PHASES.get(path):
            marks = self.marks.setdefault(phase, [])
            marks.append((time.process_time(), time.perf_counter()))
            if phase == "accepted" and len(marks) == self.count:
                self.queued_bytes = resident()


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def parts(marks: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
    """Milliseconds of processor and clock a request, tenth by tenth."""
    size = len(marks) // _PARTS
    edges = [marks[0], *(marks[(part + 1) * size - 1] for part in range(_PARTS))]
    return [
        {"processor_ms": round(1000 * (b[0] - a[0]) / size, 3), "clock_ms": round(1000 * (b[1] - a[1]) / size, 3)}
        for a, b in itertools.pairwise(edges)
    ]


def jain(amounts: Sequence[int]) -> float:
    """1 when all have the same; 1 / n when one has everything."""
    return round(sum(amounts) ** 2 / (len(amounts) * sum(amount**2 for amount in amounts)), 4)


async def measure(chosen: argparse.Namespace, scratch: Path, client: Worker) -> dict[str, Any]:
    each = chosen.requests // chosen.tenants
    total = each * chosen.tenants
    folder, gate = write_table(scratch / NAME), Gate(total)
    engine = SimulatedEngine(_VOCABULARY, chosen.replicas, chosen.rows, chosen.pace, gate)
    await engine.open()

    async def engines(_: Choices, folders: Sequence[Path], stack: AsyncExitStack) -> AsyncGenerator[tuple[Path, Any]]:
        stack.callback(engine.close)
        yield folders[0], engine

    app.open_engines = engines
    async with AsyncExitStack() as stack:
        model = Model(NAME, folder, "Apache-2.0", "folder", 1024, _VOCABULARY)
        settings = Settings(scratch / "data", scratch / "models")
        house, keyring = await stack.enter_async_context(app.build(settings, {NAME: model}))
        keys = [await keyring.add(f"tenant-{number}") for number in range(chosen.tenants)]
        seen = Seen(create_app(house, keyring, hosts=LOOPBACK), total)
        port = await stack.enter_async_context(hosted(seen))
        gc.collect()
        gc.freeze()  # as a server does that is ready
        empty = resident()
        words = {"port": port, "keys": keys, "model": NAME, "each": each, "prompt": chosen.prompt}
        words |= {"tokens": chosen.tokens, "connections": chosen.connections}
        told = await asyncio.to_thread(client.call, "ask", within=4 * _HOUR, **words)
    return report(seen, gate, told, empty)


def report(seen: Seen, gate: Gate, told: dict[str, Any], empty: int) -> dict[str, Any]:
    found: dict[str, Any] = {phase: parts(marks) for phase, marks in seen.marks.items()}
    for phase in ("accepted", "fetched"):
        costs = [part["processor_ms"] for part in found[phase]]
        found[f"{phase}_processor_ms"] = round(median(costs), 3)
        found[f"{phase}_last_to_first"] = round(costs[-1] / costs[0], 2)
    shares = Counter(gate.half)
    return {
        **found,
        "requests_a_second": round(seen.count / told["seconds"], 1),
        "seconds": round(told["seconds"], 1),
        "polls_a_request": round(seen.polls / seen.count, 4),
        "queued_bytes_a_request": (seen.queued_bytes - empty) // seen.count,
        "empty_bytes": empty,
        "fairness": jain([shares[tenant] for tenant in gate.ended]),
        "least_and_most_at_half": [min(shares.values()), max(shares.values())],
    }


def rows(found: dict[str, Any]) -> str:
    heads = ("tenth", "accepted: processor ms", "clock ms", "fetched: processor ms", "clock ms")
    lines = [
        (str(number), *(f"{part[what]:.3f}" for part in pair for what in ("processor_ms", "clock_ms")))
        for number, pair in enumerate(zip(found["accepted"], found["fetched"], strict=True), 1)
    ]
    return table(lines, heads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=8, help="each may have 16,384 (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=8, help="of a replica (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=8, help="of a sample (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=0.1, help="seconds a token (default: %(default)s)")
    parser.add_argument("--prompt", type=int, default=32, help="tokens (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=4, help="of a tenant, to submit and fetch each")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="anubhav-benchmark-") as scratch,
        worker(sys.executable, "backlog") as client,
    ):
        found = asyncio.run(measure(chosen, Path(scratch), client))
    note(f"engines and Ray's wire are simulated; everything else was executed\n{rows(found)}")
    holds = max(found["accepted_last_to_first"], found["fetched_last_to_first"]) < _FLAT
    about = {"benchmark": "scale.capacity", "claim": CLAIM, "holds": holds, **vars(chosen)}
    print(json.dumps({**about, **found, "machine": describe(processors()), "commit": commit()}))


if __name__ == "__main__":
    main()
