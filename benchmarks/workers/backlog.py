"""Many tenants ask for many samples at once over Tinker's wire, as the SDK does: one long poll tells what is ready.

The client costs little itself, and is a process of its own.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.stand.jobs import answer_jobs

Words = dict[str, object]


def ask(port: int, keys: list[str], model: str, each: int, prompt: int, tokens: int, connections: int) -> Words:
    """`each` samples for every key; how many polls it took, and the seconds of the submissions and of everything."""
    return asyncio.run(_ask(port, keys, model, each, prompt, tokens, connections))


async def _ask(port: int, keys: list[str], model: str, each: int, prompt: int, tokens: int, connections: int) -> Words:
    told = _Told()
    clients = (
        _Client(port, key, [number * each + place for place in range(each)], prompt, tokens, connections, told)
        for number, key in enumerate(keys)
    )
    await asyncio.gather(*(client.work(model) for client in clients))
    return {**asdict(told), "seconds": told.now()}


@dataclass
class _Told:
    began: float = field(default_factory=time.perf_counter)
    polls: int = 0
    fetched: int = 0
    submitted: float = 0.0
    """When the last one was accepted."""

    def now(self) -> float:
        return time.perf_counter() - self.began


@dataclass
class _Client:
    port: int
    key: str
    seeds: list[int]
    prompt: int
    tokens: int
    connections: int
    told: _Told
    ready: "asyncio.Queue[str | None]" = field(default_factory=asyncio.Queue)
    fetched: list[str] = field(default_factory=list)

    async def work(self, model: str) -> None:
        async with _Line(self.port, self.key) as line:
            session = (await line.post("create_session", {"sdk_version": "0.38.0"}))["session_id"]
            opened = {"session_id": session, "sampling_session_seq_id": 0, "base_model": model}
            sampler = str((await line.post("create_sampling_session", opened))["sampling_session_id"])
            left = iter(enumerate(self.seeds))
            await self.submit(line, sampler, *next(left))  # a poll needs something to wait for
            many = range(self.connections)
            await asyncio.gather(
                self.poll(line, sampler),
                *(self.submit_all(sampler, left) for _ in many),
                *(self.fetch_all() for _ in many),
            )

    async def submit_all(self, sampler: str, left: Iterator[tuple[int, int]]) -> None:
        async with _Line(self.port, self.key) as line:
            for place, seed in left:
                await self.submit(line, sampler, place, seed)
        self.told.submitted = self.told.now()

    async def submit(self, line: "_Line", sampler: str, place: int, seed: int) -> None:
        ids = [2 + (seed + step * 7) % 250 for step in range(self.prompt)]
        body: Words = {
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": ids}]},
            "sampling_params": {"max_tokens": self.tokens, "seed": seed, "temperature": 1.0},
            "sampling_session_id": sampler,
            "seq_id": place,
        }
        await line.post("asample", body)

    async def poll(self, line: "_Line", sampler: str) -> None:
        cursor, seen = 0, 0
        while seen < len(self.seeds):
            done, self.fetched = self.fetched, []
            target = {"sampling_session_id": sampler, "cloned_sampler_id": 0}
            body: Words = {"target": target, "prev_cursor": cursor, "retrieved_request_ids": done}
            answer = await line.post("retrieve_futures", body)
            self.told.polls += 1
            cursor = answer["cursor"]
            for one in answer["completions"]:
                self.ready.put_nowait(one["request_id"])
            seen += len(answer["completions"])
        for _ in range(self.connections):
            self.ready.put_nowait(None)

    async def fetch_all(self) -> None:
        async with _Line(self.port, self.key) as line:
            while name := await self.ready.get():
                await line.post("retrieve_future", {"request_id": name})
                self.fetched.append(name)
                self.told.fetched += 1


class _Line:
    """A connection that is kept."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key

    async def __aenter__(self) -> "_Line":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 26)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, content: Words) -> dict[str, Any]:
        body = json.dumps(content).encode()
        head = f"host: 127.0.0.1\r\nx-api-key: {self._key}\r\ncontent-type: application/json"
        self._writer.write(
            f"POST /api/v1/{path} HTTP/1.1\r\n{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        )
        told = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(told.partition("content-length: ")[2].split("\r\n")[0])
        answer = await self._reader.readexactly(size)
        if told.split()[1] != "200":
            raise RuntimeError(f"{path}: {told.split()[1]} {answer[:300].decode()}")
        return json.loads(answer)


if __name__ == "__main__":
    answer_jobs({"ask": ask})
