"""What a scrape tells after the house was used, and to whom."""

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from workshop import STEP, learn

from anubhav.types.ids import RunId
from anubhav.types.operations import Create
from anubhav.types.training import LoraSpec


async def scrape(front: Any) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names) → figure. The parser is Prometheus' own for Python."""
    response = await front.operator.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def ask(client: Any, text: str, **more: Any) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 4, **more}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    return response.json()["id"]


async def test_what_was_done_is_counted(front: Any) -> None:
    before = await scrape(front)
    for number in range(3):
        reply = await ask(front.user, f"hello {number}")
        given = {"target": reply, "kind": "correction", "text": "Hi."}
        assert (await front.user.post("/v1/feedback", json=given)).status_code == 200
    assert (await front.user.get("/v1/episodes/no-such-path/at-all")).status_code == 404
    started = (await front.operator.post("/v1/laps", json={"alias": "default"})).json()
    lap = await front.house.laps.wait((await front.house.laps.find(started["id"]))[0])
    after = await scrape(front)

    def grew(*series: str) -> float:
        return after.get(series, 0.0) - before.get(series, 0.0)

    chat = "/v1/chat/completions"
    assert grew("http_requests_total", chat, "POST", "200") == 3
    assert grew("http_request_duration_seconds_count", chat, "POST") == 3
    assert grew("http_requests_total", "unmatched", "GET", "404") == 1
    assert grew("anubhav_episodes_total", "asked") + grew("anubhav_episodes_total", "stable") == 3
    assert grew("anubhav_feedback_total", "correction") == 3
    assert grew("anubhav_laps_total", lap.report["verdict"]["outcome"]) == 1  # type: ignore[index]
    action = "promote" if lap.report["verdict"]["outcome"] == "pass" else "discard"  # type: ignore[index]
    assert grew("anubhav_releases_total", action) == 1
    assert grew("vllm:prompt_tokens_total", "tiny") > 3 * len("hello 0")
    assert grew("vllm:generation_tokens_total", "tiny") >= 12
    assert grew("vllm:time_to_first_token_seconds_count", "tiny") >= 3
    assert grew("anubhav_training_operations_total", "Step", "tiny", "done") > 0
    assert grew("anubhav_training_tokens_total", "tiny") > 0
    assert after["anubhav_adapters_attached", "tiny"] >= 1
    assert after["vllm:num_requests_running", "tiny"] == after["vllm:num_requests_waiting", "tiny"] == 0
    assert not [series for series in after if "hello" in str(series) or "no-such-path" in str(series)]


async def test_the_queue_and_what_is_open(front: Any) -> None:
    desk = front.house.desk
    session = await desk.open_session("ann", [], {}, "test")
    run = RunId(f"{session}:train:0")
    await desk.promises.wait("ann", await desk.submit("ann", run, 0, Create("tiny", LoraSpec(rank=4))), 10)
    await desk.submit("ann", run, 2, learn([1, 2, 3]))
    await desk.submit("ann", run, 3, STEP)
    await asyncio.sleep(0.05)
    found = await scrape(front)
    assert found["anubhav_training_queue", "held"] == 2
    assert found["anubhav_training_queue", "waiting"] == found["anubhav_training_queue", "active"] == 0
    assert found["anubhav_training_runs", "awake"] == 1
    assert found["anubhav_sessions", "open"] == 1
    assert found["anubhav_build_info", "0.1.0"] == 1
    last = await desk.submit("ann", run, 1, learn([1, 2, 3]))
    assert await desk.promises.wait("ann", last, 10)
    await desk.finish_session("ann", session, "success")
    found = await scrape(front)
    assert found["anubhav_sessions", "open"] == 0
    assert sum(found["anubhav_training_queue", state] for state in ("held", "waiting", "active")) == 0


async def test_a_scraper_needs_a_key_that_may_look(front: Any) -> None:
    assert (await front.nobody.get("/metrics")).status_code == 401
    looks = await front.keyring.add("prometheus", scopes=frozenset({"read"}))
    assert (await front.nobody.get("/metrics", headers={"authorization": f"Bearer {looks}"})).status_code == 200
    trains = await front.keyring.add("ann", scopes=frozenset({"train", "sample"}))
    assert (await front.nobody.get("/metrics", headers={"authorization": f"Bearer {trains}"})).status_code == 403
