import asyncio
import json
from typing import Any

import httpx2
import pytest


async def ask(client: httpx2.AsyncClient, text: str, *, n: int = 1, temperature: float = 0.0) -> dict[str, Any]:
    body = {
        "model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 12, "n": n,
        "temperature": temperature,
    }  # fmt: skip
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def test_only_health_and_the_page_need_no_key(front: Any) -> None:
    health = await front.nobody.get("/healthz")
    assert health.json() == {"status": "ok", "models": ["tiny"]}
    assert health.headers["x-request-id"].startswith("req_")
    for method, path in (
        ("POST", "/v1/feedback"), ("POST", "/v1/laps"), ("GET", "/v1/laps"), ("GET", "/v1/releases"),
        ("POST", "/v1/rollback"), ("GET", "/v1/probes"), ("GET", "/v1/episodes"), ("POST", "/v1/keys"),
    ):  # fmt: skip
        assert (await front.nobody.request(method, path, json={})).status_code == 401, path


async def test_what_is_the_operators_is_refused_to_users(front: Any) -> None:
    for method, path, body in (
        ("POST", "/v1/laps", {"alias": "default"}), ("GET", "/v1/releases", None),
        ("POST", "/v1/rollback", {"why": "x"}), ("POST", "/v1/keys", {"tenant": "eve"}), ("GET", "/v1/laps", None),
        ("GET", "/v1/probes", None), ("GET", "/v1/keys", None), ("DELETE", "/v1/keys/key_1", None),
    ):  # fmt: skip
        response = await front.user.request(method, path, json=body)
        assert response.status_code == 403, path
        assert response.json()["error"]["hint"]


async def test_nodes_are_the_operators_and_a_server_without_a_cluster_has_none(front: Any) -> None:
    for method in ("POST", "DELETE"):
        assert (await front.user.request(method, "/v1/cluster/nodes/abc/drain")).status_code == 403
        refused = await front.operator.request(method, "/v1/cluster/nodes/abc/drain")
        assert (refused.status_code, "--cluster ADDRESS" in refused.text) == (400, True)
    told = (await front.operator.get("/v1/cluster")).json()
    assert ([row["post"] for row in told["data"]], told["nodes"]) == (["tiny here"], [])


async def test_feedback_counts_once_and_only_on_ones_own_replies(front: Any) -> None:
    reply = await ask(front.user, "hello")
    given = {"id": "fb-1", "target": reply["id"], "kind": "thumb", "value": True}
    first = await front.user.post("/v1/feedback", json=given)
    assert first.json() == {"id": "fb-1", "episode": reply["id"], "status": "accepted"}
    assert (await front.user.post("/v1/feedback", json=given)).json()["status"] == "repeated"
    assert (await front.user.post("/v1/feedback", json={**given, "value": False})).status_code == 422
    assert (await front.operator.post("/v1/feedback", json={**given, "id": "fb-2"})).status_code == 404
    seen = (await front.user.get("/v1/episodes")).json()["data"]
    assert [(one["id"], [each["id"] for each in one["feedback"]]) for one in seen] == [(reply["id"], ["fb-1"])]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "thumb", "value": 7},
        {"kind": "thumb", "value": float("inf")},
        {"kind": "rating", "value": 1.5},
        {"kind": "rating", "value": "0.5"},
        {"kind": "correction", "text": " "},
        {"kind": "comparison", "value": "ep_other"},
        {"kind": "applause"},
        {"kind": "thumb", "value": True, "unknown": 1},
        {"kind": "thumb", "value": True, "target": 5},
    ],
)
async def test_wrong_feedback_is_a_typed_4xx_and_changes_nothing(front: Any, wrong: dict[str, Any]) -> None:
    reply = await ask(front.user, "hello")
    body = {"target": reply["id"], **wrong}
    content = json.dumps([{"target": reply["id"], "kind": "thumb", "value": True}, body])
    response = await front.user.post("/v1/feedback", content=content, headers={"content-type": "application/json"})
    assert 400 <= response.status_code < 500, response.text
    assert response.json()["error"]["message"]
    assert response.json()["request_id"].startswith("req_")
    assert (await front.user.get("/v1/episodes")).json()["data"][0]["feedback"] == []


async def test_a_batch_of_feedback_is_answered_in_its_order(front: Any) -> None:
    reply = await ask(front.user, "hello", n=3, temperature=1.0)
    batch = [{"target": f"{reply['id']}:{place}", "kind": "thumb", "value": place % 2} for place in range(3)]
    assert [one["status"] for one in (await front.user.post("/v1/feedback", json=batch)).json()] == ["accepted"] * 3
    assert (await front.user.post("/v1/feedback", json=[])).status_code == 400


async def test_probes_make_an_alias_and_a_misspelt_one_is_refused(front: Any) -> None:
    async def answered(model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
        return (await front.user.post("/v1/chat/completions", json=body)).status_code

    async def sealed(alias: str) -> int:
        probe = {"suite": "target-help", "check": "likelihood", "question": "Help?", "expected": "Yes."}
        return (await front.operator.post("/v1/probes", json={"alias": alias, "probes": [probe]})).status_code

    assert [await answered(name) for name in ("support", "support@stable", "tiny@stable")] == [404] * 3
    assert [await sealed(name) for name in ("support", "tiny", "a/b", "@x", "")] == [200, 400, 400, 400, 400]
    assert [await answered(name) for name in ("support", "support@stable", "suport@stable")] == [200, 200, 404]


async def test_a_lap_from_correction_to_release_and_back(front: Any) -> None:
    assert (await front.operator.post("/v1/laps", json={})).status_code == 400
    questions = [f"what is lamp {number}" for number in range(4)]
    assert (await speaker(front.operator))["path"] is None
    probes = [
        {"suite": "target-lamps", "check": "likelihood", "question": f"tell me lamp {n}", "expected": "red"}
        for n in range(6)
    ]
    sealed = await front.operator.post("/v1/probes", json={"alias": "default", "probes": probes + probes[:1]})
    assert sealed.status_code == 200, sealed.text
    assert len((await front.operator.get("/v1/probes")).json()["data"]) == 6
    for text in questions:
        given = {"target": (await ask(front.operator, text))["id"], "kind": "correction", "text": "red"}
        assert (await front.operator.post("/v1/feedback", json=given)).status_code == 200
    started = await front.operator.post("/v1/laps", json={"alias": "default"})
    assert started.status_code == 202
    assert (await front.operator.post("/v1/laps", json={"alias": "default"})).status_code == 429
    done = await settled(front, started.json()["id"])
    assert done["state"] == "done", done
    suites = {suite["suite"]: suite for suite in done["verdict"]["comparisons"]}
    assert suites["target-lamps"]["n"] == 6
    assert suites["target-lamps"]["candidate"] > suites["target-lamps"]["incumbent"]
    evidence = (await front.operator.get(f"/v1/laps/{done['id']}?evidence=true")).json()["evidence"]
    assert len(evidence["scores"]) > 6
    history = (await front.operator.get("/v1/releases?alias=default")).json()["data"]
    assert history[0]["lap"] == done["id"]
    assert done["outcome"] == "pass", done["verdict"]["reason"]
    assert (await speaker(front.operator))["path"] == history[0]["path"]
    assert (await front.operator.get("/v1/releases?live=true")).json()["data"][0]["id"] == history[0]["id"]
    back = await front.operator.post("/v1/rollback", json={"why": "a test"})
    assert back.json()["path"] is None
    assert (await speaker(front.operator))["path"] is None
    assert (await front.operator.post("/v1/rollback", json={"why": "again"})).status_code == 400


async def speaker(client: httpx2.AsyncClient) -> dict[str, Any]:
    """Which version answers now."""
    return (await ask(client, "hello"))["anubhav"]


async def settled(front: Any, lap: str) -> dict[str, Any]:
    for _ in range(600):
        found = (await front.operator.get(f"/v1/laps/{lap}")).json()
        if found["state"] != "running":
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the lap did not end")


async def test_a_made_key_works_at_once_and_only_for_its_tenant(front: Any) -> None:
    made = (await front.operator.post("/v1/keys", json={"tenant": "bob"})).json()
    bob = {"authorization": f"Bearer {made['key']}"}
    assert (await front.nobody.get("/v1/episodes", headers=bob)).json() == {"data": []}
    assert (await front.nobody.get("/v1/releases", headers=bob)).status_code == 403
    assert (await front.operator.post("/v1/keys", json={"tenant": "../x"})).status_code == 400


async def test_a_revoked_key_is_listed_and_works_no_more(front: Any) -> None:
    made = (await front.operator.post("/v1/keys", json={"tenant": "cleo", "note": "laptop"})).json()
    cleo = {"authorization": f"Bearer {made['key']}"}
    listed = (await front.operator.get("/v1/keys")).json()["data"]
    [row] = [one for one in listed if one["tenant"] == "cleo"]
    assert (row["note"], row["operator"], row["revoked_at"]) == ("laptop", False, None)
    assert not any(made["key"] in str(one) or one["id"] == made["key"] for one in listed)
    assert (await front.nobody.get("/v1/episodes", headers=cleo)).status_code == 200
    assert (await front.operator.delete(f"/v1/keys/{row['id']}")).json() == {"id": row["id"], "revoked": True}
    assert (await front.nobody.get("/v1/episodes", headers=cleo)).status_code == 401
    assert (await front.operator.delete(f"/v1/keys/{row['id']}")).status_code == 404
    assert (await front.operator.get("/v1/keys")).json()["data"][0]["revoked_at"]


async def test_an_unknown_lap_is_not_found(front: Any) -> None:
    assert (await front.operator.get("/v1/laps/lap_none")).status_code == 404
