"""Many chats at once, streamed over HTTP by a client that costs little itself; how long each took."""

import asyncio
import json
import time

from benchmarks.stand.jobs import answer_jobs

Took = tuple[float, float, int]
"""Seconds to the first event and to the end of the answer, and how many events came."""


def chat(port: int, key: str, bodies: list[dict[str, object]], begins: list[float]) -> list[Took]:
    """Of each request, from before it is sent. There is a stream for each of `begins`, seconds from now."""
    return asyncio.run(_chat(port, key, bodies, begins))


async def _chat(port: int, key: str, bodies: list[dict[str, object]], begins: list[float]) -> list[Took]:
    left = iter(enumerate(bodies))
    took: list[Took] = [(0.0, 0.0, 0)] * len(bodies)

    async def talk(begin: float) -> None:
        await asyncio.sleep(begin)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        for number, body in left:
            took[number] = await _ask(reader, writer, key, json.dumps(body).encode())
        writer.close()

    await asyncio.gather(*map(talk, begins))
    return took


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, body: bytes) -> Took:
    started = time.perf_counter()
    head = f"host: 127.0.0.1\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    writer.write(f"POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
    told = await reader.readuntil(b"\r\n\r\n")
    if not told.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(told.decode())
    whole = await reader.readuntil(b"\n\n")
    first = time.perf_counter()
    whole += await reader.readuntil(b"\r\n\r\n")
    ended = time.perf_counter()
    if b"data: [DONE]" not in whole:
        raise RuntimeError(whole[-500:].decode())
    return first - started, ended - started, whole.count(b"data: {")


if __name__ == "__main__":
    answer_jobs({"chat": chat})
