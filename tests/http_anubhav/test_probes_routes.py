"""Sealed probes have a credential of their own, and verdicts show their evidence."""

from typing import Any

import httpx2

from anubhav.flows.improve import TENANT
from anubhav.flows.probing import measure
from anubhav.flows.sealing import seal
from anubhav.http.app import create_app

PROBE = {"suite": "target-help", "check": "likelihood", "question": "a sealed question", "expected": "Yes."}


def client(front: Any, key: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=create_app(front.house, front.keyring, hosts=None))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers={"x-api-key": key})


async def test_only_judges_reach_probes_and_nobody_else_sees_them(front: Any) -> None:
    body = {"alias": "default", "probes": [PROBE]}
    for scopes in (["train"], ["sample", "read"], ["train", "judge"], ["sample", "judge"], ["admin"]):
        async with client(front, await front.keyring.add("eve", scopes=frozenset(scopes))) as eve:
            assert (await eve.post("/v1/probes", json=body)).status_code == 403, scopes
            assert (await eve.get("/v1/probes")).status_code == 403, scopes
            assert (await eve.get("/v1/verdicts/lap_x")).status_code == 403, scopes
    async with client(front, await front.keyring.add("jo", scopes=frozenset(["judge"]))) as judge:
        sealed = (await judge.post("/v1/probes", json=body)).json()["data"]
        assert (await judge.get("/v1/probes")).json()["data"][0]["messages"][0]["content"] == "a sealed question"
        assert (await judge.get("/v1/episodes")).status_code == 403
        assert "sealed" not in (await front.operator.get("/v1/episodes")).text
        assert (await judge.delete(f"/v1/probes/{sealed[0]['id']}")).json()["removed"]
        assert (await judge.delete(f"/v1/probes/{sealed[0]['id']}")).status_code == 404
        assert (await judge.get("/v1/verdicts/lap_x")).status_code == 404


async def test_what_is_sealed_is_in_no_plan_no_episode_and_no_export(front: Any) -> None:
    async with client(front, await front.keyring.add("jo", scopes=frozenset(["judge"]))) as judge:
        probe = {**PROBE, "check": "contains", "expected": "Zebra."}
        assert (await judge.post("/v1/probes", json={"alias": "default", "probes": [probe]})).status_code == 200
    chat = {"model": "default", "messages": [{"role": "user", "content": "an open question"}], "max_tokens": 4}
    reply = (await front.user.post("/v1/chat/completions", json=chat)).json()["id"]
    given = {"target": reply, "kind": "correction", "text": "An open answer."}
    assert (await front.user.post("/v1/feedback", json=given)).json()["status"] == "accepted"
    voice = await front.house.voices.resolve(TENANT, "default@stable")
    sealed = await seal(front.house, "default", voice)
    assert [one.expected for one in sealed.probes] == ["Zebra."]
    assert await measure(front.house, sealed.probes, voice, voice), "asking a probe leaves no episode"
    shown = [repr(sealed.plan)]
    for address in ("/v1/episodes", *(f"/v1/episodes/export?form={form}" for form in ("sft", "trajectory"))):
        for who in (front.user, front.operator):
            answer = await who.get(address)
            assert answer.status_code == 200, address
            shown.append(answer.text)
    assert sum("an open question" in one for one in shown) >= 4
    assert not any("sealed question" in one or "Zebra" in one for one in shown)
