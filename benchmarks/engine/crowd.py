"""Does what is merely known cost anything? Step and sample times with few and with very many runs and adapters.

    python -m benchmarks.engine.crowd [--quick] [--adapters 10000] [--runs 1000] [--rounds 7]

Two houses with real engines and databases, in this process and without HTTP. In one of them as many other runs are made
and parked, and as many checkpoints registered under names of their own; then a step of 4×64 tokens and a sample of 16
are taken in the one and the other by turns. What it takes to bring a parked run back and to sample from an adapter not
used before is told too.
"""

import asyncio
import gc
import time
from argparse import Namespace
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from anubhav.backends.torch.engine import TorchEngine
from anubhav.catalog.library import Library
from anubhav.serving.voices import Voices
from anubhav.settings import default_models_dir
from anubhav.store import checkpoints as shelf
from anubhav.store.database import Connection, Database
from anubhav.training.client import RunClient
from anubhav.training.desk import Desk
from anubhav.training.limits import Limits
from anubhav.training.snapshots import Pace
from anubhav.types.arrays import floats, ints
from anubhav.types.checkpoints import TinkerPath
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import Datum, LoraSpec, OptimParams
from benchmarks.stand import batches
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.processes import note
from benchmarks.stand.session import options, session

TENANT = "crowd"
SPEC = LoraSpec(rank=4, train_mlp=False, train_unembed=False)
SHARED = 20
"""Checkpoints with files of their own; the other names share these."""
REST = 2.0
"""Seconds until a run is parked."""


@dataclass(frozen=True)
class House:
    model: str
    database: Database
    engine: TorchEngine
    desk: Desk
    voices: Voices

    async def start(self) -> RunClient:
        return await RunClient.start(self.desk, TENANT, self.model, SPEC, tag="crowd")

    async def say(self, name: str, number: int) -> None:
        voice = await self.voices.resolve(TENANT, name)
        params = SamplingParams(16, seed=number)
        request = SampleRequest(tuple(batches.prompts(1, 32, number)[0]), params, voice.adapter, tenant=TENANT)
        async for _ in self.voices.sample(voice, request):
            pass


def furnish(name: str, folder: Path) -> House:
    folder.mkdir()
    model = Library(default_models_dir()).find(name)
    engine, database = TorchEngine(model.folder), Database(folder / "anubhav.db")
    trainers, samplers = {name: engine.trainer}, {name: engine.sampler}
    desk = Desk(database, trainers, folder, Limits({name: model}), pace=Pace(rest=REST))
    return House(name, database, engine, desk, Voices(database, samplers, desk.checkpoints))


async def step(run: RunClient, number: int) -> None:
    await run.forward_backward([datum(tokens) for tokens in batches.documents([64] * 4, number)], "cross_entropy")
    await run.optim_step(OptimParams(learning_rate=1e-5))


def datum(tokens: list[int]) -> Datum:
    weights = floats([1.0] * (len(tokens) - 1))
    return Datum(tuple(tokens[:-1]), {"target_tokens": ints(tokens[1:]), "weights": weights})


async def took(work: Callable[[int], Awaitable[None]], number: int) -> float:
    """Milliseconds; what is swept up before it is not in it."""
    gc.collect()
    started = time.perf_counter()
    await work(number)
    return 1e3 * (time.perf_counter() - started)


async def fill(house: House, runs: int, adapters: int) -> tuple[list[RunClient], list[str]]:
    """The runs, parked, and a path for each adapter."""
    note(f"{runs} runs")
    others = [await house.start() for _ in range(runs)]
    kept = [await run.save("one", "sampler_weights") for run in others[:SHARED]]
    paths: list[str] = []

    def register(connection: Connection) -> None:
        for number in range(len(paths), min(len(paths) + 500, adapters)):
            known = shelf.find(connection, str(kept[number % len(kept)].path))
            assert known
            path = TinkerPath(known[0].path.run, known[0].path.kind, f"copy-{number}")
            shelf.add(connection, replace(known[0], path=path), known[1])
            paths.append(str(path))

    note(f"{adapters} adapters")
    while len(paths) < adapters:
        await house.database.run(register)
    note("parking")
    while house.desk.awake > 1:  # noqa: ASYNC110 - runs fall asleep one by one, and tell nobody
        await asyncio.sleep(REST)
    return others, paths


@dataclass(frozen=True)
class Side:
    """A house with a run and a checkpoint of our own, which both are measured with."""

    house: House
    run: RunClient
    kept: str

    async def step(self, number: int) -> None:
        await step(self.run, number)

    async def say(self, number: int) -> None:
        await self.house.say(self.kept, number)

    async def stay_awake(self) -> None:
        """The run that is measured must not be parked itself."""
        while True:
            await self.run.forward([datum([1, 2, 3])])
            await asyncio.sleep(REST / 4)

    async def close(self) -> None:
        await self.house.desk.stop()
        self.house.engine.close()
        self.house.database.close()


async def open_side(name: str, folder: Path) -> Side:
    house = furnish(name, folder)
    run = await house.start()
    return Side(house, run, str((await run.save("ours", "sampler_weights")).path))


async def measure(name: str, folder: Path, chosen: Namespace, rounds: int) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        sides: dict[str, Side] = {}
        for when in ("alone", "beside"):
            sides[when] = await open_side(name, folder / when)
            stack.push_async_callback(sides[when].close)
        others, paths = await crowd(sides, chosen)
        found: dict[str, list[float]] = defaultdict(list)
        for number in range(rounds + 1):
            # In turns, so that a slow minute of the machine is shared; the first round does not count.
            for when in list(sides)[:: 1 if number % 2 else -1]:
                taken = await took(sides[when].step, number), await took(sides[when].say, number)
                if number:
                    found[f"step, {when}"].append(taken[0])
                    found[f"sample, {when}"].append(taken[1])
        crowded = sides["beside"].house
        for number in range(rounds):
            found["step of a parked run"].append(await took(lambda n: step(others[n], n), number))
            found["first sample of an adapter"].append(await took(lambda n: crowded.say(paths[n], n), number))
        return found


async def crowd(sides: Mapping[str, Side], chosen: Namespace) -> tuple[list[RunClient], list[str]]:
    awake = [asyncio.create_task(side.stay_awake()) for side in sides.values()]
    others, paths = await fill(sides["beside"].house, chosen.runs, chosen.adapters)
    for task in awake:
        task.cancel()
    await asyncio.gather(*awake, return_exceptions=True)
    return others, paths


def main() -> None:
    parser = options(__doc__ or "", rounds=7)
    parser.add_argument("--adapters", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=1_000)
    with session("crowd", parser) as here:
        chosen = here.chosen
        if here.quick:
            chosen.runs, chosen.adapters = 5, 50
        found = asyncio.run(measure(chosen.model, here.scratch, chosen, here.rounds))
        others = f"{chosen.runs} parked runs and {chosen.adapters} adapters known"
        for case in ("step", "sample"):
            beside, alone = (Figure("anubhav", found[f"{case}, {when}"]) for when in ("beside", "alone"))
            here.compare(Record("crowd", f"{case}, {others}", "ms", None, peer_name="none known"), beside, alone)
        for case in ("step of a parked run", "first sample of an adapter"):
            here.add(Record("crowd", case, "ms", Figure("anubhav", found[case])))


if __name__ == "__main__":
    main()
