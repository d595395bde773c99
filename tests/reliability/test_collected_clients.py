"""A client that is left to the garbage collector harms no connection that comes after it, however late it is closed."""

import asyncio
import gc
import socket
import threading

import pytest
from tinker._base_client import AsyncHttpxClientWrapper

pytestmark = pytest.mark.tinker_sdk


async def test_the_next_connection_of_its_number_is_heard() -> None:
    """Collected in the thread of another loop, which closes its transport when the number is already another's."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    number = await ask_and_leave(port)
    elsewhere, collected, go = asyncio.new_event_loop(), threading.Event(), threading.Event()
    thread = threading.Thread(target=elsewhere.run_forever)
    thread.start()

    async def collect() -> None:
        gc.collect()
        collected.set()
        go.wait()  # holds up this loop, and with it the closing that the SDK has begun on it

    asyncio.run_coroutine_threadsafe(collect(), elsewhere)
    await asyncio.to_thread(collected.wait, 10)
    reader, writer = await asyncio.open_connection(sock=connected(port, number))
    await asyncio.sleep(0.1)
    go.set()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), elsewhere))
    writer.write(b"\r\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    elsewhere.call_soon_threadsafe(elsewhere.stop)
    thread.join()
    elsewhere.close()
    server.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        if line == b"\r\n":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    writer.close()


async def ask_and_leave(port: int) -> int:
    """The number of the connection that is left open."""
    client = AsyncHttpxClientWrapper(base_url=f"http://127.0.0.1:{port}")
    assert (await client.get("/")).status_code == 200
    (connection,) = client._transport._pool.connections
    number = connection._connection._network_stream.get_extra_info("socket").fileno()
    cycle = [client]
    cycle.append(cycle)
    return number


def connected(port: int, number: int) -> socket.socket:
    """A socket that has this number."""
    opened = [socket.socket()]
    while opened[-1].fileno() < number:
        opened.append(socket.socket())
    *lower, found = opened
    for one in lower:
        one.close()
    assert found.fileno() == number
    found.connect(("127.0.0.1", port))
    found.setblocking(False)
    return found
