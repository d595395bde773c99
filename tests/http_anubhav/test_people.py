"""People at the front door: sessions, feedback on them, erasure everywhere, exports, imports, policies, isolation."""

import json
from pathlib import Path
from typing import Any

import pytest

from anubhav.flows.people import sweep

MARK = "zanzibar"


async def chat(client: Any, text: str = "hello", headers: dict[str, str] | None = None, **more: Any) -> Any:
    asked = {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 4, "seed": 1, **more}
    answer = await client.post("/v1/chat/completions", json=asked, headers=headers or {})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def judge(client: Any, **body: Any) -> Any:
    answer = await client.post("/v1/feedback", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def lap(front: Any, alias: str = "default") -> Any:
    started = (await front.operator.post("/v1/laps", json={"alias": alias})).json()
    return await ended(front, started["id"])


async def ended(front: Any, name: str) -> Any:
    await front.house.laps.wait((await front.house.laps.find(name))[0])
    return (await front.operator.get(f"/v1/laps/{name}")).json()


async def kept(front: Any, tenant: Any = None) -> list[Any]:
    return (await (tenant or front.user).get("/v1/episodes")).json()["data"]


async def test_a_session_is_one_trajectory_and_takes_outcomes(front: Any) -> None:
    first = await chat(front.user, "hello", {"x-session-id": "s/1"}, user="ann")
    said = first["choices"][0]["message"]["content"]
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "b"},
    ]
    second = await chat(front.user, session_id="s/1", user="ann", messages=messages)
    title = await chat(front.user, "Generate a concise, 3-5 word title", {"x-session-id": "s/1"})
    found = (await front.user.get("/v1/sessions/s/1/trajectory")).json()
    assert found["side"] == [title["id"]]
    spoken = [[span["episode"] for span in one["spans"] if span["episode"]] for one in found["trajectories"]]
    assert sorted(name for one in spoken for name in one) == sorted([first["id"], second["id"]])
    assert found["cost"]["replies"] == 3
    receipt = await judge(front.user, session="s/1", kind="outcome", value=1, text="sold")
    assert receipt["episode"] == second["id"]
    for other in (front.operator,):
        assert (await other.get("/v1/sessions/s/1/trajectory")).status_code == 404
        assert (
            await other.post("/v1/feedback", json={"session": "s/1", "kind": "thumb", "value": 1})
        ).status_code == 404
    assert (await front.user.post("/v1/feedback", json={"kind": "thumb", "value": 1})).status_code == 400


async def test_what_is_not_stored_and_what_is_not_trained_on(front: Any) -> None:
    gone = await chat(front.user, store=False)
    answer = await front.user.post("/v1/feedback", json={"target": gone["id"], "kind": "thumb", "value": True})
    assert (answer.status_code, await kept(front)) == (404, [])
    private = await chat(front.user, headers={"x-anubhav-train": "no"})
    await judge(front.user, target=private["id"], kind="correction", text="Seven.")
    assert [one["trainable"] for one in await kept(front)] == [False]
    refused = await front.operator.post("/v1/laps", json={})
    assert (refused.status_code, "nothing to learn" in refused.text) == (400, True)
    wrong = await front.user.post(
        "/v1/chat/completions",
        json={"model": "default", "messages": [{"role": "user", "content": "x"}]},
        headers={"x-anubhav-train": "perhaps"},
    )
    assert wrong.status_code == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat"])
async def test_every_dialect_says_who_talks_and_what_is_not_stored(front: Any, path: str) -> None:
    said = [{"role": "user", "content": "x"}]
    body = {"model": "default", "messages": said, "input": "x", "max_tokens": 4, "stream": False, "user": "ann"}
    assert (await front.user.post(path, json={**body, "store": False})).status_code == 200
    assert await kept(front) == []
    assert (await front.user.post(path, json=body)).status_code == 200
    assert [one["user"] for one in await kept(front)] == ["ann"]


async def teach(front: Any, asked: str, text: str, user: str) -> str:
    reply = await chat(front.user, asked, user=user, headers={"x-session-id": f"s-{user}"})
    await judge(front.user, target=reply["id"], kind="correction", text=text)
    return reply["id"]


async def test_erasing_somebody_leaves_nothing_of_them(front: Any, tmp_path: Path) -> None:
    mine = await teach(front, f"Who lives in {MARK}?", f"In {MARK} lives Ann.", "ann")
    others = await teach(front, "Who are you?", "I am Tiny.", "bob")
    reply = await chat(front.user, "hello", user="bob")
    await judge(front.user, target=reply["id"], kind="rating", value=0.2, text=f"about {MARK}", rater="ann")
    lines = (await front.user.get("/v1/episodes/export", params={"form": "sft", "place": "/somewhere/rows.jsonl"})).text
    assert [json.loads(line)["episodes"] for line in lines.splitlines()] == [[mine], [others]]
    done = await lap(front)
    assert done["state"] == "done"
    await front.house.lineage.used(done["id"], [(mine, 0, None, "imitated", 0), (others, 0, None, "imitated", 0)])
    assert (
        MARK.encode() in (tmp_path / "data/anubhav.db-wal").read_bytes() + (tmp_path / "data/anubhav.db").read_bytes()
    )

    found = (await front.user.post("/v1/erase", json={"user": "ann"})).json()
    assert (found["removed"], found["feedback"]) == ([mine], 2)
    assert [(one["lap"], one["direct"]) for one in found["laps"]] == [(done["id"], True)]
    assert [(one["place"], one["episodes"]) for one in found["exports"]] == [("/somewhere/rows.jsonl", 1)]
    assert {one["id"] for one in await kept(front)} == {others, reply["id"]}
    raw = (tmp_path / "data/anubhav.db-wal").read_bytes() + (tmp_path / "data/anubhav.db").read_bytes()
    assert MARK.encode() not in raw
    assert others.encode() in raw

    again = (await front.user.post("/v1/erase", json={"user": "ann"})).json()
    assert (again["removed"], again["feedback"]) == ([], 0)
    assert (again["laps"], again["names"]) == (found["laps"], found["names"])
    rows = await front.house.recorder._database.run(
        lambda c: [row["details"] for row in c.execute("SELECT details FROM audit WHERE event = 'user_erased'")]
    )
    assert len(rows) == 1
    assert set(json.loads(rows[0])) == {"episodes", "feedback", "laps", "by"}


async def test_only_the_operator_erases_elsewhere_or_retrains(front: Any) -> None:
    await teach(front, "Who?", "Me.", "ann")
    for body in ({"user": "ann", "retrain": True}, {"user": "ann", "tenant": "local"}):
        assert (await front.user.post("/v1/erase", json=body)).status_code == 403
    assert len(await kept(front)) == 1
    assert (await front.operator.post("/v1/erase", json={"user": "ann"})).json()["removed"] == []
    assert len((await front.operator.post("/v1/erase", json={"user": "ann", "tenant": "ann"})).json()["removed"]) == 1


async def test_retraining_goes_back_and_learns_the_rest(front: Any) -> None:
    mine = await teach(front, "Who lives there?", "Ann.", "ann")
    others = await teach(front, "Who are you?", "Tiny.", "bob")
    done = await lap(front)
    await front.house.lineage.used(done["id"], [(mine, 0, None, "imitated", 0), (others, 0, None, "imitated", 0)])
    live = await front.house.register.current("default")
    found = (await front.operator.post("/v1/erase", json={"user": "ann", "tenant": "ann", "retrain": True})).json()
    (retraining,) = found["retraining"]
    assert (retraining["state"], retraining["rolled_back"]) == ("started", bool(live and live.path))
    if live and live.path:
        assert found["laps"][0]["checkpoints"] == [live.path]
        assert (await front.house.register.current("default")).path is None
    learned = await ended(front, retraining["lap"])
    assert learned["report"]["corrections"] == 1


async def test_a_trace_is_the_operators(front: Any) -> None:
    name = await teach(front, "Who?", "Me.", "ann")
    assert (await front.user.get(f"/v1/trace/{name}")).status_code == 403
    await front.house.lineage.used("lap_1", [(name, 0, None, "imitated", 0)])
    found = (await front.operator.get(f"/v1/trace/{name}")).json()
    assert {"source": name, "to": "lap_1", "what": "imitated in batch 0"} in found["onward"]
    assert (await front.operator.get("/v1/trace/rater:ann/ann")).status_code == 200
    assert (await front.operator.get("/v1/trace/ep_none")).status_code == 404


async def test_exports_have_the_shapes_that_trainers_read(front: Any) -> None:
    corrected = await teach(front, "Who?", "Me.", "ann")
    pair = await chat(front.user, "Say it", n=2, temperature=1.0)
    await judge(front.user, target=pair["id"], kind="comparison", value=f"{pair['id']}:1")
    liked = await chat(front.user, "More", headers={"x-session-id": "s-9"})
    await judge(front.user, target=liked["id"], kind="thumb", value=True)
    await chat(front.user, "Private", headers={"x-anubhav-train": "no"})

    async def rows(form: str) -> list[Any]:
        answer = await front.user.get("/v1/episodes/export", params={"form": form})
        assert answer.headers["x-export-id"].startswith("exp_")
        return [json.loads(line) for line in answer.text.splitlines()]

    sft = await rows("sft")
    assert [row["episodes"] for row in sft] == [[corrected], [liked["id"]]]
    assert sft[0]["messages"] == [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    texts = [choice["message"]["content"] for choice in pair["choices"]]
    dpo = await rows("dpo")
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in dpo[1:]] == [tuple(texts)]
    assert dpo[0]["chosen"][0]["content"] == "Me."
    kto = await rows("kto")
    assert [(row["label"], row["completion"][0]["content"]) for row in kto] == [
        (True, "Me."), (True, liked["choices"][0]["message"]["content"]),
    ]  # fmt: skip
    found = await rows("trajectory")
    assert [row["session"] for row in found] == ["s-ann", None, None, "s-9"]
    assert found[-1]["judgements"][0]["value"] == 1.0
    assert len(found[-1]["spans"][1]["logprobs"]) == len(found[-1]["spans"][1]["tokens"]) == 4
    assert (await front.operator.get("/v1/episodes/export")).text == ""
    assert (await front.user.get("/v1/episodes/export", params={"form": "xml"})).status_code == 400


async def test_policies_are_the_operators_and_work_from_the_next_reply(front: Any) -> None:
    policy = {
        "train": True,
        "keep_days": 30,
        "patterns": [{"name": "email"}, {"name": "ticket", "regex": "TCK-[0-9]{4}"}],
    }
    assert (await front.user.put("/v1/policies/ann", json=policy)).status_code == 403
    assert (await front.operator.put("/v1/policies/ann", json=policy)).status_code == 200
    await chat(front.user, "a@b.example has TCK-1234", user="ann")
    (found,) = await kept(front)
    assert found["messages"][0]["content"] == "[email] has [ticket]"
    assert found["redacted"] is True
    for bad in ({"patterns": [{"name": "x", "regex": "(a+)+"}]}, {"keep_days": -1}, {"patterns": [{"name": "nope"}]}):
        assert (await front.operator.put("/v1/policies/ann", json=bad)).status_code == 400
    assert (await front.operator.get("/v1/policies/ann")).json()["keep_days"] == 30
    assert await sweep(front.house) == 0
    assert await sweep(front.house, now=4e9) == 1
    assert await kept(front) == []


async def test_a_user_opts_out_and_in(front: Any) -> None:
    await teach(front, "Who?", "Me.", "ann")
    put = await front.user.put("/v1/users/ann/consent", json={"train": False})
    assert put.json() == {"user": "ann", "episodes": 1, "memories": [], "train": False}
    assert (await front.operator.post("/v1/laps", json={})).status_code == 400
    assert (await front.operator.get("/v1/users/ann")).json() == {
        "user": "ann", "episodes": 0, "memories": [], "train": True,
    }  # fmt: skip
    await front.user.put("/v1/users/ann/consent", json={"train": True})
    assert (await front.user.get("/v1/users/ann")).json()["train"] is True


OPENAI = {
    "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}],
    "feedback": {"kind": "thumb", "value": True, "rater": "tom"}, "user": "ann", "session_id": "old-1",
}  # fmt: skip
PREFERRED = {
    "input": {"messages": [{"role": "user", "content": "Hi?"}]},
    "preferred_output": [{"role": "assistant", "content": "Good day."}],
    "non_preferred_output": [{"role": "assistant", "content": "What?"}],
}
LANGFUSE = {
    "id": "t1", "sessionId": "lf-1", "userId": "uma", "scores": [{"name": "ok", "value": 1, "dataType": "BOOLEAN"}],
    "observations": [
        {"id": "o0", "type": "SPAN", "input": "x", "output": "y"},
        {"id": "o1", "type": "GENERATION", "input": [{"role": "user", "content": "Sum?"}],
         "output": {"role": "assistant", "content": "4"}},
    ],
}  # fmt: skip
OTEL = {"resourceSpans": [{"scopeSpans": [{"spans": [{
    "spanId": "1",
    "attributes": [
        {"key": "gen_ai.input.messages", "value": {"stringValue": json.dumps(
            [{"role": "user", "parts": [{"type": "text", "content": "Where?"}]}])}},
        {"key": "gen_ai.output.messages", "value": {"stringValue": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": "Here."}]}])}},
        {"key": "gen_ai.conversation.id", "value": {"stringValue": "otel-1"}},
    ],
    "events": [{"name": "gen_ai.evaluation.result", "attributes": [
        {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.9}}]}],
}]}]}]}  # fmt: skip
NUMBERED = {
    "attributes": {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "A?", "gen_ai.completion.0.content": "B."}
}


async def test_imports_become_episodes_once(front: Any) -> None:
    records = [OPENAI, PREFERRED, LANGFUSE, OTEL, NUMBERED, {"messages": [{"role": "user", "content": "no answer"}]}]
    body = {"records": records}
    found = (await front.user.post("/v1/episodes/import", json=body)).json()
    assert found == {"episodes": 5, "feedback": 4, "repeated": 0, "skipped": 1}
    again = (await front.user.post("/v1/episodes/import", json=body)).json()
    assert again == {"episodes": 0, "feedback": 0, "repeated": 5, "skipped": 1}
    by_text = {one["choices"][0]["text"]: one for one in await kept(front)}
    assert set(by_text) == {"Hello.", "Good day.", "4", "Here.", "B."}
    assert (by_text["4"]["session"], by_text["4"]["user"], by_text["4"]["feedback"][0]["value"]) == ("lf-1", "uma", 1.0)
    assert by_text["Here."]["feedback"][0]["kind"] == "rating"
    whole = await front.house.recorder.find("ann", by_text["Hello."]["id"])
    assert (whole.origin, whole.as_sampled, whole.choices[0].logprobs) == ("openai", False, ())
    assert whole.choices[0].tokens == front.house.renderers["tiny"].answer("Hello.")
    rows = (await front.user.get("/v1/episodes/export", params={"form": "dpo"})).text.splitlines()
    assert json.loads(rows[0])["chosen"][0]["content"] == "Good day."
    for bad in ({"records": ["x"]}, {"records": []}, {"records": [OPENAI], "alias": "tiny"}):
        assert (await front.user.post("/v1/episodes/import", json=bad)).status_code == 400, bad


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/sessions/s/trajectory", None),
        ("GET", "/v1/episodes/export", None),
        ("POST", "/v1/episodes/import", {"records": [OPENAI]}),
        ("PUT", "/v1/users/ann/consent", {"train": False}),
        ("POST", "/v1/erase", {"user": "ann"}),
        ("GET", "/v1/trace/ep_1", None),
        ("GET", "/v1/policies/ann", None),
    ],
)
async def test_nobody_gets_in_without_a_key(front: Any, method: str, path: str, body: Any) -> None:
    assert (await front.nobody.request(method, path, json=body)).status_code == 401
