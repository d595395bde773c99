"""What does the house add to a chat? Over HTTP, 64 streams at once, against the same samples straight from the port.

    python -m benchmarks.serve.gateway [--streams 64] [--requests 256] [--rounds 5] [--tokens 32] [--pace 0.05]

The engine is the table at the pace of a model: a token of each stream every `--pace` seconds, whoever listens, and each
token is a letter or two, so that it is an event. Streams begin at random moments within the time of a reply, the same
ones in every round: they are at different places of it, as people are. Server and engine are in this process, the
client in one of its own. Three sides take turns:

- straight: the samples are asked of the port, without HTTP;
- the house: chats at /v1/chat/completions, streamed, authenticated, recorded, as `anubhav serve` has them;
- the floor: a bare Starlette route behind the same server, which reads the body as JSON, asks the same engine, and as
  its tokens come sends the bytes that the house would send, made before the clock runs.

A request's overhead is what it took over HTTP, from before it is sent to the last byte, less what the same sample
(prompt, seed, tokens) took straight in the same round; and the same to the first event. The house's holds a commit to
disk, which `commit_p50_ms` tells of alone. The processor's time a request is that of this process beyond what the
engine needs for the samples straight. The last line is one JSON object.
"""

import argparse
import asyncio
import gc
import itertools
import json
import random
import string
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from anubhav.app import build
from anubhav.backends.opening import open_engine
from anubhav.flows.chat import Reply
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.http.doorstep import listen, server_of
from anubhav.http.openai import answers
from anubhav.http.streaming import DONE, streamed
from anubhav.ports import Sampler
from anubhav.rendering.renderer import Renderer
from anubhav.serving.streams import Piece, speak
from anubhav.serving.voices import Voice, Voices
from anubhav.settings import Settings
from anubhav.store.database import Database
from anubhav.store.quotas import spend
from anubhav.types.chat import Message
from anubhav.types.ids import new_id
from anubhav.types.models import Model
from anubhav.types.sampling import Sampled, SampleRequest, SamplingParams
from benchmarks.loop.table import NAME, write_table
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.processes import Worker, note, worker
from benchmarks.stand.servers import KEY
from benchmarks.workers.streams import Took

CLAIM = "The house adds less than 5 ms to a chat (median), with 64 streams at once."
_CLAIMED_MS = 5.0
_COMMITS, _BETWEEN = 100, 0.02
_BLANK = "Ġ"
"""As byte-level tokenizers write it."""
_WORDS = "What would you cook for four people on a rainy evening, with rice, and what for the children?"
Body = dict[str, Any]


@dataclass(frozen=True)
class Engine:
    """The port alone, and what puts a body of ours into its words."""

    sampler: Sampler
    renderer: Renderer
    hasty: "Hasty"
    ready: dict[int, SampleRequest] = field(default_factory=dict[int, SampleRequest])
    """By seed: putting words into tokens is the house's work."""
    written: dict[int, list[list[bytes]]] = field(default_factory=dict[int, list[list[bytes]]])
    """By seed, what the house sends for each token."""

    async def prepare(self, asked: list[Body]) -> None:
        self.ready.clear()
        self.written.clear()
        for body in asked:
            prompt = self.renderer.render((Message("user", body["messages"][0]["content"]),))
            params = SamplingParams(body["max_tokens"], seed=body["seed"], stop_tokens=self.renderer.stop_tokens)
            request = self.ready[body["seed"]] = SampleRequest(prompt, params)
            self.written[body["seed"]] = await self._write(request)

    async def _write(self, request: SampleRequest) -> list[list[bytes]]:
        voice, written = Voice("default", NAME), list[list[bytes]]()
        pieces = speak(
            self.hasty, voice, request, self.renderer, (), lambda _: self.renderer.listener(request.prompt, (), "")
        )

        async def told() -> AsyncGenerator[Piece]:
            async for piece in pieces:
                written.append([])
                yield piece

        reply = Reply(new_id("ep"), voice, request.prompt, told())
        async for event in streamed(answers.events(reply, self.renderer, answers.Shown()), "", ending=DONE):
            written[-1].append(event)
        return written

    def sample(self, body: Body) -> AsyncGenerator[Sampled]:
        return self.sampler.sample(self.ready[body["seed"]])

    async def straight(self, asked: list[Body], begins: list[float]) -> list[Took]:
        left, took = iter(enumerate(asked)), [(0.0, 0.0, 0)] * len(asked)

        async def hear(begin: float) -> None:
            await asyncio.sleep(begin)
            for place, body in left:
                started, moments = time.perf_counter(), list[float]()
                async for _ in self.sample(body):
                    moments.append(time.perf_counter() - started)
                took[place] = (moments[0], time.perf_counter() - started, len(moments))

        await asyncio.gather(*map(hear, begins))
        return took

    def floor(self) -> Starlette:
        async def chat(request: Request) -> StreamingResponse:
            return StreamingResponse(events(await request.json()), media_type="text/event-stream")

        async def events(body: Body) -> AsyncGenerator[bytes]:
            written = iter(self.written[body["seed"]])
            async for _ in self.sample(body):
                for event in next(written):
                    yield event

        return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


class Hasty(Voices):
    """What is said, said at once."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def sample(self, voice: Voice, request: SampleRequest) -> AsyncGenerator[Sampled]:
        return self._sampler.sample(request)


def let_speak(folder: Path) -> None:
    """Every token stands for letters: bytes that are no characters alone would be held back until some are one."""
    file = folder / "tokenizer.json"
    known = json.loads(file.read_text())
    words = (a + b for a, b in itertools.product(string.ascii_lowercase, repeat=2))
    known["model"]["vocab"] = {
        word if word.isascii() or word == _BLANK else next(words): number
        for word, number in known["model"]["vocab"].items()
    }
    file.write_text(json.dumps(known))


def bodies(chosen: argparse.Namespace, number: int) -> list[Body]:
    first = number * chosen.requests
    return [
        {
            "model": "default",
            "messages": [{"role": "user", "content": f"{seed}. {_WORDS}"}],
            "max_tokens": chosen.tokens,
            "seed": seed,
            "stream": True,
        }
        for seed in range(first, first + chosen.requests)
    ]


@asynccontextmanager
async def hosted(app: ASGIApp) -> AsyncGenerator[int]:
    """The port it is reached at, behind the server that `anubhav serve` has."""
    server = server_of(app)
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@dataclass(frozen=True)
class Spent:
    took: list[Took]
    processor: float
    """Seconds a request."""


async def measure(chosen: argparse.Namespace, scratch: Path, client: Worker) -> dict[str, Any]:
    folder = write_table(scratch / NAME, chosen.pace)
    let_speak(folder)
    hasty = Hasty(open_engine(write_table(scratch / "hasty"), None).sampler)
    engine = Engine(open_engine(folder, None).sampler, Renderer(folder), hasty)
    settings = Settings(scratch / "data", scratch / "models")
    begins = [random.Random(number).uniform(0, chosen.tokens * chosen.pace) for number in range(chosen.streams)]
    sides: dict[str, Callable[[list[Body]], Awaitable[list[Took]]]] = {
        "straight": lambda asked: engine.straight(asked, begins)
    }

    def over_http(port: int) -> Callable[[list[Body]], Awaitable[list[Took]]]:
        return lambda asked: asyncio.to_thread(client.call, "chat", port=port, key=KEY, bodies=asked, begins=begins)

    async with AsyncExitStack() as stack:
        model = Model(NAME, folder, "Apache-2.0", "folder", 1024, 258)
        house, keyring = await stack.enter_async_context(build(settings, {NAME: model}))
        await keyring.preset(KEY)
        inside = await stack.enter_async_context(hosted(create_app(house, keyring, hosts=LOOPBACK)))
        sides["house"] = over_http(inside)
        sides["floor"] = over_http(await stack.enter_async_context(hosted(engine.floor())))
        gc.freeze()  # as a server does that is ready
        rounds: dict[str, list[Spent]] = {side: [] for side in sides}
        for number in range(chosen.rounds + 1):
            asked = bodies(chosen, number)
            await engine.prepare(asked)
            for side in list(sides)[:: 1 if number % 2 else -1]:
                begun = time.process_time()
                took = await sides[side](asked)
                spent = Spent(took, (time.process_time() - begun) / len(asked))
                note(f"round {number}, {side}: {1000 * spent.processor:.2f} ms of processor a request")
                if number:  # the first one warms up
                    rounds[side].append(spent)
    about = {"requests": chosen.rounds * chosen.requests, "commit_p50_ms": await commits(scratch / "commits.db")}
    return {**about, **report(rounds)}


async def commits(file: Path) -> float:
    """What is durable before the last event: a row, through the store's thread, while nobody else writes."""
    with closing(Database(file)) as database:
        took: list[float] = []
        for _ in range(_COMMITS):
            started = time.perf_counter()
            await database.run(lambda c: spend(c, "ann", 1))
            took.append(1000 * (time.perf_counter() - started))
            await asyncio.sleep(_BETWEEN)
    return round(median(took), 2)


def report(rounds: dict[str, list[Spent]]) -> dict[str, Any]:
    straight = [took for one in rounds["straight"] for took in one.took]
    found: dict[str, Any] = {"straight_p50_ms": round(1000 * median(took[1] for took in straight), 1)}
    for side in ("house", "floor"):
        heard = [took for one in rounds[side] for took in one.took]
        added = [1000 * (one[1] - other[1]) for one, other in zip(heard, straight, strict=True)]
        first = [1000 * (one[0] - other[0]) for one, other in zip(heard, straight, strict=True)]
        extra = [one.processor - other.processor for one, other in zip(rounds[side], rounds["straight"], strict=True)]
        found[side] = {
            "overhead_p50_ms": round(median(added), 2),
            "overhead_p95_ms": round(quantiles(added, n=20)[-1], 2),
            "first_event_p50_ms": round(median(first), 2),
            "processor_ms_a_request": round(1000 * median(extra), 2),
            "events_a_request": round(sum(took[2] for took in heard) / len(heard), 1),
        }
    heard = [[took[1] for one in rounds[side] for took in one.took] for side in ("house", "floor")]
    beyond = [1000 * (one - other) for one, other in zip(*heard, strict=True)]
    found["beyond_floor_p50_ms"] = round(median(beyond), 2)
    for figure in ("overhead_p50_ms", "processor_ms_a_request"):
        found[f"{figure}_ratio"] = round(found["house"][figure] / found["floor"][figure], 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=64, help="at once (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=256, help="a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each side (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=32, help="of a reply at most (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds a token (default: %(default)s)")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="anubhav-benchmark-") as scratch,
        worker(sys.executable, "streams") as client,
    ):
        found = asyncio.run(measure(chosen, Path(scratch), client))
    about = {"benchmark": "serve.gateway", "claim": CLAIM, "holds": found["house"]["overhead_p50_ms"] < _CLAIMED_MS}
    settings = {name: getattr(chosen, name) for name in ("streams", "tokens", "pace")}
    print(json.dumps({**about, **settings, **found, "machine": describe(processors()), "commit": commit()}))


if __name__ == "__main__":
    main()
