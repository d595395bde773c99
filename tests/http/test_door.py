import gzip
import json
import random
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from backports import zstd
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

from anubhav.errors import BadInput, Busy, Mismatch, NotAuthenticated
from anubhav.flows.keyring import Keyring
from anubhav.http import errors
from anubhav.http.auth import COOKIE, principal
from anubhav.http.door import LOOPBACK, MEGABYTE, Door, strip_prefix
from anubhav.store.database import Database
from anubhav.types.models import Principal

Client = httpx2.AsyncClient


class Body(BaseModel):
    rate: float


@pytest.fixture
async def keyring() -> AsyncIterator[Keyring]:
    database = Database(":memory:")
    yield Keyring(database)
    database.close()


@pytest.fixture
async def client(keyring: Keyring) -> AsyncIterator[Client]:
    app = FastAPI(redirect_slashes=False)

    @app.get("/api/v1/me")
    async def me(who: Principal = Depends(principal)) -> dict[str, str]:
        return {"tenant": who.tenant}

    @app.post("/api/v1/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @app.post("/api/v1/typed")
    async def typed(body: Body) -> None: ...

    @app.get("/api/v1/raise/{what}")
    async def fail(what: str) -> None:
        raise {"busy": Busy("Full", retry_after=3), "mismatch": Mismatch("Other"), "bug": KeyError("/secret/path")}[
            what
        ]

    @app.get("/healthz")
    async def health() -> str:
        return "ok"

    errors.install(app)
    app.add_middleware(Door, keyring=keyring, hosts=LOOPBACK)
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        yield client


async def test_nothing_but_health_is_open(client: Client) -> None:
    assert (await client.get("/healthz")).status_code == 200
    for method, path in [("GET", "/api/v1/me"), ("POST", "/healthz"), ("GET", "/no/such"), ("GET", "/api/v1/nothing")]:
        answer = await client.request(method, path)
        assert answer.status_code == 401, (method, path)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_one_key_in_either_header_and_only_as_a_hash_at_rest(client: Client, keyring: Keyring) -> None:
    key = await keyring.add("anna")
    assert key.startswith("tml-")
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
        assert (await client.get("/api/v1/me", headers=headers)).json() == {"tenant": "anna"}
    assert (await client.get("/api/v1/me", headers={"x-api-key": key[:-1]})).status_code == 401
    rows = await keyring._database.run(lambda connection: connection.execute("SELECT * FROM keys").fetchall())
    assert key not in json.dumps([tuple(row) for row in rows])


async def test_a_preset_key_outlives_the_keyring(keyring: Keyring) -> None:
    first = await keyring.preset("tml-mine-1")
    again = Keyring(keyring._database)
    assert await again.preset("tml-mine-1") == first
    assert first.operator
    with pytest.raises(BadInput):
        await keyring.preset("sk-mine")


async def test_page_cookie(client: Client, keyring: Keyring) -> None:
    ticket = keyring.issue_ticket(Principal("anna", "key_1", operator=False))
    cookie = {"cookie": f"{COOKIE}={ticket}"}
    assert (await client.get("/api/v1/me", headers=cookie)).json() == {"tenant": "anna"}
    forged = {"cookie": f"{COOKIE}={ticket[:-2]}00"}
    assert (await client.get("/api/v1/me", headers=forged)).status_code == 401
    assert (await client.post("/api/v1/size", headers=cookie)).status_code == 403
    assert (await client.post("/api/v1/size", headers=cookie | {"origin": "http://127.0.0.1:9"})).status_code == 403
    assert (await client.post("/api/v1/size", headers=cookie | {"origin": "http://127.0.0.1:8000"})).status_code == 200


async def test_tickets_end(keyring: Keyring) -> None:
    who = Principal("anna", "key_1", operator=False)
    with pytest.raises(NotAuthenticated):
        keyring.check_ticket(keyring.issue_ticket(who, seconds=-1))
    once = keyring.issue_ticket(who)
    assert await keyring.redeem_ticket(once) == who
    with pytest.raises(NotAuthenticated):
        await keyring.redeem_ticket(once)
    with pytest.raises(NotAuthenticated):
        Keyring(keyring._database).check_ticket(once)


async def test_other_host_names_are_refused(client: Client) -> None:
    for host, status in [
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("localhost:8000", 200),
        ("[::1]", 200),
    ]:
        assert (await client.get("/healthz", headers={"host": host})).status_code == status, host


async def test_bodies_have_a_limit(client: Client, keyring: Keyring) -> None:
    key = {"x-api-key": await keyring.add("anna")}
    assert (await client.post("/api/v1/size", content=b"x" * MEGABYTE, headers=key)).json() == MEGABYTE
    assert (await client.post("/api/v1/size", content=b"x" * 33 * MEGABYTE, headers=key)).status_code == 413

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b"x" * MEGABYTE

    assert (await client.post("/api/v1/size", content=unannounced(), headers=key)).status_code == 413


async def in_pieces(body: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("zstd", zstd.compress), ("gzip", gzip.compress), ("ZSTD", zstd.compress)]
)
async def test_packed_bodies(client: Client, keyring: Keyring, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {"x-api-key": await keyring.add("anna"), "content-encoding": encoding}

    async def size(content: bytes | AsyncIterator[bytes]) -> httpx2.Response:
        return await client.post("/api/v1/size", content=content, headers=headers)

    noise = random.Random(0).randbytes(MEGABYTE)
    assert (await size(pack(noise))).json() == MEGABYTE
    assert (await size(in_pieces(pack(noise)))).json() == MEGABYTE
    assert (await size(pack(b""))).json() == 0
    assert (await size(pack(bytes(32 * MEGABYTE)))).json() == 32 * MEGABYTE
    bomb = pack(bytes(32 * MEGABYTE + 1))
    assert len(bomb) < MEGABYTE
    assert (await size(bomb)).status_code == 413
    assert (await size(in_pieces(bomb, 20))).status_code == 413
    for spoilt in (b"no such format", pack(noise)[:-1], pack(noise) + b"x", pack(noise) + pack(noise), b""):
        answer = await size(spoilt)
        assert answer.status_code == 400, spoilt[:20]
        assert answer.json()["error"]["hint"]


async def test_bodies_packed_otherwise_are_refused(client: Client, keyring: Keyring) -> None:
    key = {"x-api-key": await keyring.add("anna")}
    for encoding in ("br", "deflate", "zstd, gzip"):
        packed = await client.post("/api/v1/size", content=b"x", headers=key | {"content-encoding": encoding})
        assert packed.status_code == 415
        assert "zstd" in packed.json()["error"]["hint"]
    assert (await client.post("/api/v1/size", content=b"x", headers=key | {"content-encoding": "identity"})).json() == 1


async def test_a_frame_that_asks_for_much_memory_is_refused(client: Client, keyring: Keyring) -> None:
    wide = zstd.compress(bytes(80 * MEGABYTE), options={zstd.CompressionParameter.window_log: 27})
    headers = {"x-api-key": await keyring.add("anna"), "content-encoding": "zstd"}
    assert (await client.post("/api/v1/size", content=wide, headers=headers)).status_code in (400, 413)


async def test_errors_are_typed_and_tell_nothing_of_the_inside(client: Client, keyring: Keyring) -> None:
    client.headers["x-api-key"] = await keyring.add("anna")
    busy = await client.get("/api/v1/raise/busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "3")
    assert (await client.get("/api/v1/raise/mismatch")).status_code == 422
    broken = await client.get("/api/v1/raise/bug")
    assert (broken.status_code, broken.headers["x-should-retry"]) == (424, "false")
    assert "secret" not in broken.text
    assert broken.headers["x-request-id"] in broken.text
    for content in (b'{"rate": NaN', b'{"rate": "x"}', b"[]"):
        answer = await client.post("/api/v1/typed", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400, content
        assert answer.json()["detail"]
    assert (await client.get("/api/v1/nothing")).status_code == 404
    assert (await client.put("/api/v1/typed")).status_code == 405


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("/api/v1/asample", "/api/v1/asample"),
        ("/services/tinker-prod/api/v1/asample", "/api/v1/asample"),
        ("/oai/api/v1/models", "/oai/api/v1/models"),
        ("/services/x/oai/api/v1/models", "/oai/api/v1/models"),
        ("/anthropic/api/v1/messages", "/anthropic/api/v1/messages"),
        ("/v1/models", "/v1/models"),
        ("/a/api/v1/training_runs/api/v1/x", "/api/v1/training_runs/api/v1/x"),
    ],
)
def test_prefixes(asked: str, served: str) -> None:
    assert strip_prefix(asked) == served
