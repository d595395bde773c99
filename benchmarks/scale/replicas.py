"""Do more samplers sample more? Samples a second with 1, 2 and 4 sampler processes over Ray, each on one processor.

    python -m benchmarks.scale.replicas [--replicas 1 2 4] [--streams 8] [--samples 48] [--tokens 32] [--rounds 3]
                                        [--pace 0.03] [--model NAME]

Every sampler is pinned to a processor of its own and computes on one thread; the server's side, which asks, is pinned
to none. `--streams` samples a replica are under way at a time, `--samples` a replica are drawn in a round. Two kinds of
rows: the model computes (only as many processes as there are processors), and the engine's time is simulated (a token
of each stream every `--pace` seconds, which costs no processor), which shows what asking and hearing over Ray allow.
A JSON line for each row as it is measured, then a table; the last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from anubhav.app import pull_model
from anubhav.cluster.remote.connection import connect, disconnect
from anubhav.settings import default_models_dir
from anubhav.types.sampling import SampleRequest, SamplingParams
from benchmarks.loop.table import write_table
from benchmarks.stand import batches
from benchmarks.stand.figures import table
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.model import NAME
from benchmarks.stand.processes import note

if TYPE_CHECKING:
    from anubhav.cluster.remote.engine import RemoteEngine

CLAIM = "Samplers that are added sample more, in proportion, for as long as they have processors."
_PROMPT = 32
_BYTES = 250
"""Tokens that both the table and a model know."""


@contextmanager
def replicas(folder: Path, count: int) -> Generator["RemoteEngine"]:
    """An engine of so many samplers, a processor each."""
    from anubhav.cluster.remote.engine import RemoteEngine, Wanted

    engine = RemoteEngine(folder, None, Wanted(count, 1))
    try:
        yield engine
    finally:
        engine.close()


def pin(process: int, processor: int) -> None:
    """Every thread of it."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {processor})


async def round_of(engine: "RemoteEngine", chosen: argparse.Namespace, count: int, number: int) -> float:
    """Samples a second."""
    prompts = batches.prompts(chosen.samples * count, _PROMPT, number)
    left = iter(enumerate(prompts))

    async def draw(left: Iterator[tuple[int, list[int]]]) -> None:
        for seed, prompt in left:
            tokens = tuple(token % _BYTES + 2 for token in prompt)
            request = SampleRequest(tokens, SamplingParams(chosen.tokens, seed=seed))
            async for _ in engine.sampler.sample(request):
                pass

    started = time.perf_counter()
    await asyncio.gather(*(draw(left) for _ in range(chosen.streams * count)))
    return len(prompts) / (time.perf_counter() - started)


async def row(folder: Path, chosen: argparse.Namespace, count: int, *, simulated: bool) -> dict[str, Any]:
    free = sorted(os.sched_getaffinity(0))
    with replicas(folder, count) as engine:
        await engine.open()
        hosts = [post["pid"] for post in await engine.look() if "sampler" in post["post"]]
        for place, process in enumerate(hosts):
            pin(process, free[place % len(free)])
        begun = time.process_time()
        rates = [await round_of(engine, chosen, count, number) for number in range(chosen.rounds + 1)][1:]
        spent = (time.process_time() - begun) / ((chosen.rounds + 1) * chosen.samples * count)
    return {
        "replicas": count,
        "engine": "simulated" if simulated else "computes",
        "samples_a_second": round(median(rates), 2),
        "rounds": [round(rate, 2) for rate in rates],
        "server_ms_a_sample": round(1000 * spent, 2),
    }


async def measure(chosen: argparse.Namespace, scratch: Path) -> list[dict[str, Any]]:
    model = pull_model(chosen.model, default_models_dir(), note).folder
    paced = write_table(scratch / "paced", chosen.pace)
    found: list[dict[str, Any]] = []
    for folder, simulated in ((model, False), (paced, True)):
        for count in chosen.replicas:
            if not simulated and count > processors():
                note(f"{count} processes that compute need {count} processors: only simulated")
                continue
            one = await row(folder, chosen, count, simulated=simulated)
            first = next((row for row in found if row["engine"] == one["engine"]), one)
            one["ratio_to_first"] = round(one["samples_a_second"] / first["samples_a_second"], 3)
            found.append(one)
            print(json.dumps(one), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--streams", type=int, default=8, help="of a replica at a time (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=48, help="of a replica in a round (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=32, help="of a sample (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="after one that does not count (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=0.03, help="seconds a token, simulated (default: %(default)s)")
    parser.add_argument("--model", default=NAME)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anubhav-scale-") as scratch:
        connect("local", Path(scratch), hosts=1 + max(chosen.replicas))
        try:
            found = asyncio.run(measure(chosen, Path(scratch)))
        finally:
            disconnect()
    heads = ("replicas", "engine", "samples_a_second", "ratio_to_first", "server_ms_a_sample")
    note(f"\n{table([[str(one[head]) for head in heads] for one in found], heads)}")
    about = {"benchmark": "scale.replicas", "claim": CLAIM, **vars(chosen), "rows": found}
    print(json.dumps({**about, "machine": describe(processors()), "commit": commit()}), flush=True)


if __name__ == "__main__":
    main()
