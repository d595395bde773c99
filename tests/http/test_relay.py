"""What a server that stands by makes of requests: passed on untouched, and sent again only where nothing doubles."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from anubhav.http.relay import RELAYED, Relay


class Leader:
    """Speaks HTTP just well enough; what it heard is kept as it came."""

    def __init__(self, *answers: bytes | None) -> None:
        self.heard: list[bytes] = []
        self._answers = list(answers)

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            size = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            self.heard.append(head + await reader.readexactly(size))
            if answer := self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]:
                writer.write(answer)
                await writer.drain()
        writer.close()


def said(status: str, body: bytes = b"", *headers: bytes) -> bytes:
    lines = (f"HTTP/1.1 {status}".encode(), b"content-length: %d" % len(body), b"connection: close", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay(wait=5)
    yield relay
    await relay.close()


@pytest.fixture
async def client(relay: Relay) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=relay, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://standby") as client:
        yield client


async def test_a_request_and_its_answer_are_passed_on_untouched(relay: Relay, client: httpx2.AsyncClient) -> None:
    leader = Leader(said("201 Created", b"\x00made\xff", b"x-own: 1", b"set-cookie: a=1", b"set-cookie: b=2"))
    relay.leader = await leader.open()
    headers = {"x-api-key": "tml-key", "content-encoding": "zstd", RELAYED + "-not": "x"}
    answer = await client.post("/api/v1/a%2Fb?c=%20d", content=b"\x28\xb5\x2f\xfd", headers=headers)
    assert (answer.status_code, answer.content, answer.headers["x-own"]) == (201, b"\x00made\xff", "1")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert "connection" not in answer.headers
    (heard,) = leader.heard
    assert heard.startswith(b"POST /api/v1/a%2Fb?c=%20d HTTP/1.1\r\n")
    assert heard.endswith(b"\r\n\r\n\x28\xb5\x2f\xfd")
    for line in (b"host: standby", b"x-api-key: tml-key", b"content-encoding: zstd", b"%s: near" % RELAYED.encode()):
        assert line in heard.lower()
    await leader.close()


async def test_what_was_not_begun_waits_for_who_leads_next(relay: Relay, client: httpx2.AsyncClient) -> None:
    """Nobody there; one that is gone; one that does not lead yet; and then one that does."""
    gone, early, leads = (
        Leader(b""),
        Leader(said("503 No", b"", b"x-anubhav-not-leading: 1")),
        Leader(said("200 OK", b"ok")),
    )
    asked = asyncio.create_task(client.post("/v1/feedback", content=b"once"))
    await asyncio.sleep(0.2)
    address = await gone.open()
    await gone.close()
    relay.leader = address
    await asyncio.sleep(0.3)
    relay.leader = await early.open()
    await asyncio.sleep(0.3)
    assert early.heard
    assert not asked.done()
    relay.leader = await leads.open()
    assert (await asked).text == "ok"
    assert [one.endswith(b"once") for one in leads.heard] == [True]
    await early.close()
    await leads.close()


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("POST", False), ("DELETE", False)])
async def test_what_was_begun_is_asked_again_only_if_it_changes_nothing(
    relay: Relay, client: httpx2.AsyncClient, method: str, again: bool
) -> None:
    leader = Leader(None, said("200 OK", b"ok"))
    relay.leader = await leader.open()
    answer = await client.request(method, "/v1/laps")
    assert len(leader.heard) == 1 + again
    assert answer.status_code == (200 if again else 503)
    assert again or answer.headers["retry-after"] == "1"
    await leader.close()


async def test_an_answer_that_breaks_off_is_no_answer(relay: Relay, client: httpx2.AsyncClient) -> None:
    cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
    leader = Leader(cut, said("200 OK", b"whole"))
    relay.leader = await leader.open()
    assert (await client.get("/v1/models")).text == "whole"
    leader._answers = [cut]
    assert (await client.post("/v1/laps")).status_code == 503
    await leader.close()


async def test_who_does_not_lead_says_so_to_whoever_passes_on(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/models", headers={RELAYED: "near"})
    assert (answer.status_code, answer.headers["x-anubhav-not-leading"]) == (503, "1")


async def test_health_does_not_wait(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(2):
        assert (await client.get("/healthz")).status_code == 503


async def test_what_waits_is_answered_by_this_server_once_it_leads(relay: Relay, client: httpx2.AsyncClient) -> None:
    async def house(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode() + body})

    asked = asyncio.create_task(client.post("/v1/laps", content=b" now"))
    await asyncio.sleep(0.2)
    relay.inside = house
    assert (await asked).text == "/v1/laps now"
    assert (await client.post("/v1/laps", content=b" then")).text == "/v1/laps then"
