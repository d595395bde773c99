"""Scopes of keys and quotas of tenants at the front door: every route asks for a scope and names the one lacking."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from anubhav.errors import BadInput
from anubhav.http.app import create_app
from anubhav.http.auth import Needs, is_public
from anubhav.store import quotas, runs
from anubhav.types.models import SCOPES
from anubhav.types.quotas import Quota

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
ANY_KEY = {
    "/api/v1/client/config", "/api/v1/client/dynamic_config", "/api/v1/get_server_capabilities",
    "/api/v1/session_heartbeat", "/api/v1/telemetry", "/api/v1/auth/token", "/api/v1/auth/apikey/me",
    "/api/v1/{rest:path}",
}  # fmt: skip
"""They tell or change nothing of a tenant's, or are about the key itself."""


def scopes_of(found: Dependant) -> Iterator[frozenset[str]]:
    if isinstance(found.call, Needs):
        yield found.call.scopes
    for inner in found.dependencies:
        yield from scopes_of(inner)


def routes_of(router: Any) -> Iterator[APIRoute]:
    """Newer versions of FastAPI keep an included router as one entry."""
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner)
        elif isinstance(route, APIRoute):
            yield route


async def test_every_route_asks_for_a_scope(front: Any) -> None:
    routes = list(routes_of(create_app(front.house, front.keyring, hosts=None)))
    assert len(routes) > 60
    bare = [
        f"{method} {route.path}"
        for route in routes
        for method in route.methods
        if not is_public(method, route.path.replace("{", "").replace("}", "").replace(":path", ""))
        and route.path not in ANY_KEY
        and not list(scopes_of(route.dependant))
    ]
    assert bare == []


def client(front: Any, key: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=create_app(front.house, front.keyring, hosts=None))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers={"x-api-key": key})


@pytest.mark.parametrize(
    ("method", "path", "body", "open_to"),
    [
        ("POST", "/v1/chat/completions", CHAT, {"sample"}),
        ("GET", "/v1/models", None, {"train", "sample", "read"}),
        ("POST", "/v1/feedback", {"target": "ep_1", "kind": "thumb", "value": True}, {"sample"}),
        ("GET", "/v1/episodes", None, {"read"}),
        ("GET", "/api/v1/training_runs", None, {"train", "read"}),
        ("POST", "/api/v1/optim_step", {"model_id": "s:train:0", "seq_id": 1, "adam_params": {}}, {"train"}),
        ("DELETE", "/api/v1/training_runs/r/checkpoints/weights/x", None, {"train"}),
        ("POST", "/api/v1/create_session", {"tags": [], "user_metadata": {}, "sdk_version": "1"}, {"train", "sample"}),
        ("GET", "/api/v1/get_server_capabilities", None, set(SCOPES)),
        ("GET", "/v1/keys", None, set()),
    ],
)
async def test_a_key_opens_what_its_scopes_say(
    front: Any, method: str, path: str, body: Any, open_to: set[str]
) -> None:
    for scope in sorted(SCOPES):
        key = await front.keyring.add("ann", scopes=frozenset([scope]))
        async with client(front, key) as holder:
            token = (await holder.post("/api/v1/auth/token", json={})).json()["jwt"]
        for credential in (key, token):
            async with client(front, credential) as holder:
                answer = await holder.request(method, path, json=body)
            refused = answer.status_code == 403
            assert refused == (scope not in open_to), (scope, answer.text)
            if refused and open_to:
                assert answer.json()["error"]["code"] == "OutOfScope"
                assert all(named in answer.json()["error"]["message"] for named in open_to)


async def test_an_operators_key_needs_the_scope_admin(front: Any) -> None:
    before = await front.keyring.keys()
    asked = {"tenant": "bob", "operator": True, "scopes": ["read"], "quota": {"runs": 1}}
    assert (await front.operator.post("/v1/keys", json=asked)).status_code == 400
    with pytest.raises(BadInput):
        await front.keyring.add("bob", operator=True, scopes=frozenset(["train"]))
    assert await front.keyring.keys() == before
    assert (await front.operator.get("/v1/quotas/bob")).json()["quota"]["runs"] is None
    assert (await front.operator.post("/v1/keys", json=asked | {"scopes": ["admin"]})).status_code == 200


async def test_a_key_without_train_uses_up_no_number_of_a_run(front: Any) -> None:
    session = (await front.user.post("/api/v1/create_session", json={"tags": [], "sdk_version": "1"})).json()
    created = {"session_id": session["session_id"], "model_seq_id": 0, "base_model": "tiny", "lora_config": {"rank": 4}}
    run = (await front.user.post("/api/v1/create_model", json=created)).json()["model_id"]
    step = {"model_id": run, "seq_id": 5, "adam_params": {"learning_rate": 0.1}}
    async with client(front, await front.keyring.add("ann", scopes=frozenset(["sample"]))) as holder:
        assert (await holder.post("/api/v1/optim_step", json=step)).status_code == 403
    database = front.house.desk._database
    assert await database.run(lambda c: runs.find_op(c, run, 5)) is None


async def test_a_page_is_signed_in_with_its_keys_scopes(front: Any) -> None:
    who = await front.keyring.check(await front.keyring.add("ann", scopes=frozenset(["read"])))
    assert front.keyring.check_ticket(front.keyring.issue_ticket(who)) == who


async def test_keys_and_quotas_are_shown_and_set(front: Any) -> None:
    asked = {"tenant": "team/bob", "scopes": ["sample"], "quota": {"tokens_a_day": 1000, "queue": 2}}
    assert (await front.operator.post("/v1/keys", json=asked)).status_code == 200
    assert (await front.operator.get("/v1/keys")).json()["data"][0]["scopes"] == ["sample"]
    shown = (await front.operator.get("/v1/quotas/team/bob")).json()
    assert shown["quota"] == {"tokens_a_day": 1000, "runs": None, "storage_bytes": None, "queue": 2}
    assert shown["used"] == {"tokens_today": 0, "runs": 0, "storage_bytes": 0, "queue": 0}
    put = await front.operator.put("/v1/quotas/team/bob", json={"runs": 3})
    assert put.json()["quota"] == {"tokens_a_day": None, "runs": 3, "storage_bytes": None, "queue": None}
    for bad in ({"runs": -1}, {"runs": "3"}, {"rums": 3}):
        assert (await front.operator.put("/v1/quotas/team/bob", json=bad)).status_code == 400
    assert (await front.user.put("/v1/quotas/ann", json={})).status_code == 403
    assert (await front.operator.get("/v1/quotas/team/bob")).json()["quota"]["runs"] == 3


async def test_a_spent_quota_is_403_and_a_full_queue_429(front: Any) -> None:
    assert (await front.user.post("/v1/chat/completions", json=CHAT)).status_code == 200
    async with asyncio.timeout(5):
        while not (used := (await front.keyring.quota("ann"))[1].tokens_today):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert used >= 3 + len("hello")
    await front.keyring.set_quota("ann", Quota(tokens_a_day=used))
    for path, body in (("chat/completions", CHAT), ("completions", {"model": "tiny", "prompt": "x", "max_tokens": 2})):
        spent = await front.user.post(f"/v1/{path}", json=body)
        assert (spent.status_code, spent.json()["error"]["type"]) == (403, "insufficient_quota")
    assert (await front.keyring.quota("ann"))[1].tokens_today == used
    await front.keyring.set_quota("ann", Quota(queue=0))
    busy = await front.user.post("/v1/chat/completions", json=CHAT)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "2")
    await front.keyring.set_quota("ann", Quota())
    assert (await front.user.post("/v1/chat/completions", json=CHAT)).status_code == 200


async def test_an_older_key_has_all_scopes(front: Any) -> None:
    await front.house.desk._database.run(lambda c: c.execute("UPDATE keys SET scopes = NULL"))
    assert all(set(row.scopes) == SCOPES for row in await front.keyring.keys())
    assert await front.house.desk._database.run(lambda c: quotas.find(c, "nobody")) == Quota()
