"""/v1/memories over HTTP: what is remembered is shown with its reasons, changed by hand, and forgotten for good."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_memory_chat import chat, memories, only, prompt_of, said

from anubhav.flows.people import sweep
from anubhav.types.models import Principal

SECRET = "zanzibar"


@pytest.fixture
def context() -> int:
    return 8192


def raw(tmp_path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in (tmp_path / "data").glob("anubhav.db*"))


async def call(client: Any, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await client.request(method, f"/v1/memories/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def words(found: Any) -> str:
    """All of it but times and scores, whose digits may be any."""
    return json.dumps(json.loads(json.dumps(found), parse_float=lambda _: None))


async def ledger(front: Any, memory: Any, **asked: Any) -> list[Any]:
    return (await front.user.get(f"/v1/memories/{memory['id']}/ledger", params=asked)).json()["data"]


async def test_a_chunk_is_edited_pinned_and_taken_out(front: Any) -> None:
    await chat(front.user, "My flat is blue.")
    await chat(front.user, "It has two rooms.")
    memory = await only(front)
    name, chunk = memory["id"], memory["chunks"][0]
    place = f"{name}/chunks/{chunk['id']}"
    edited = await call(front.user, "PATCH", place, {"text": "My flat is green.", "pinned": True})
    assert (edited["chunks"][0]["text"], edited["chunks"][0]["pin"]) == ("My flat is green.", "client")
    assert edited["version"] > memory["version"]
    answer = await chat(front.user, "Which colour?")
    assert "user: My flat is green.\n" in (await prompt_of(front, answer))[0]["content"]
    acts = [(line["act"], line["before"], line["after"]) for line in await ledger(front, memory, chunk=chunk["id"])]
    assert acts == [
        ("pinned", "My flat is green.", "My flat is green."),
        ("edited", "My flat is blue.", "My flat is green."),
        ("kept", "My flat is blue.", "My flat is blue."),
    ]
    unpinned = await call(front.user, "PATCH", place, {"pinned": False})
    assert unpinned["chunks"][0]["pin"] == ""
    left = await call(front.user, "DELETE", place)
    assert chunk["id"] not in {one["id"] for one in left["chunks"]}
    assert [line["before"] + line["after"] for line in await ledger(front, memory, chunk=chunk["id"])] == [""] * 5
    await call(front.user, "DELETE", place, status=404)
    for wrong in ({}, {"text": ""}, {"pinned": "yes"}, {"words": "x"}):
        await call(front.user, "PATCH", f"{name}/chunks/{memory['chunks'][1]['id']}", wrong, status=400)


async def test_a_pinned_line_outlives_whatever_else_goes(front: Any) -> None:
    await chat(front.user, "Hello.")
    memory = await only(front)
    pinned = await call(front.user, "POST", f"{memory['id']}/pins", {"text": "I am allergic to peanuts."})
    again = await chat(front.user, "Hello.")
    assert "allergic to peanuts" in (await prompt_of(front, again))[0]["content"], "asking again must not hide a pin"
    for number in range(25):
        await chat(front.user, f"The {number}th story is about the harbour of Hamburg and its {number} ships.")
    found = await only(front)
    assert found["tokens"] <= 2000
    assert [one["id"] for one in found["chunks"] if one["pin"] == "client"] == [pinned["chunks"][-1]["id"]]
    refused = await call(front.user, "POST", f"{memory['id']}/pins", {"text": "word " * 500}, status=400)
    assert "pinned" in refused["error"]["message"]
    assert (await only(front))["version"] == found["version"]


async def test_a_pin_makes_room_in_a_full_memory(front: Any) -> None:
    for number in range(25):
        await chat(front.user, f"The {number}th story is about the harbour of Hamburg and its {number} ships.")
    full = await only(front)
    found = await call(front.user, "POST", f"{full['id']}/pins", {"text": "Always answer in metres, never in feet."})
    assert found["tokens"] <= 2000
    assert "Always answer in metres, never in feet." in said(found)


async def test_what_is_forgotten_is_nowhere(front: Any, tmp_path: Path) -> None:
    # The reply's episode has its own erasure; a request that is not stored would not be remembered either.
    await chat(front.user, f"My address is 12 {SECRET.title()} Street. My cat is called Tom.")
    await chat(front.user, f"My address is now 77 {SECRET.title()} Square.")
    memory = await only(front)
    assert any(SECRET in str(line).lower() for line in await ledger(front, memory))
    found = await call(front.user, "POST", f"{memory['id']}/forget", {"words": "my address"})
    assert SECRET not in json.dumps(found).lower()
    assert any("Tom" in text for text in said(found))
    assert not any(SECRET in str(line).lower() for line in await ledger(front, memory))
    await front.house.memories._database.run(
        lambda c: c.execute("DELETE FROM episodes")  # what is said is also an episode, which erasure removes
    )
    await front.house.memories._database.forget_log()
    assert SECRET.encode() not in raw(tmp_path).lower()
    await call(front.user, "POST", f"{memory['id']}/forget", {"words": "my address"}, status=404)
    await call(front.user, "POST", f"{memory['id']}/forget", {"words": "the of and"}, status=400)


async def test_who_asks_to_forget_in_a_chat_is_heard(front: Any) -> None:
    await chat(front.user, f"My PIN is 4821, as my aunt in {SECRET} knows.")
    await chat(front.user, "It rains.")
    await chat(front.user, "Please forget my PIN.")
    memory = await only(front)
    assert "4821" not in words(memory)
    lines = await ledger(front, memory)
    assert "4821" not in words(lines)
    assert "deleted" in {line["act"] for line in lines}


async def test_the_ledger_is_read_in_pages_and_by_what_it_is_about(front: Any) -> None:
    first = await chat(front.user, "One fact.")
    for number in range(6):
        await chat(front.user, f"Fact {number}.")
    memory = await only(front)
    whole = await ledger(front, memory, limit=500)
    assert [line["seq"] for line in whole] == sorted((line["seq"] for line in whole), reverse=True)
    pages: list[Any] = []
    asked: dict[str, Any] = {"limit": 4}
    while True:
        page = (await front.user.get(f"/v1/memories/{memory['id']}/ledger", params=asked)).json()
        pages += page["data"]
        if page["next"] is None:
            break
        asked["before"] = page["next"]
    assert pages == whole
    name = first.json()["id"]
    own = await ledger(front, memory, episode=name)
    assert {line["episode"] for line in own} == {name}
    assert [line["before"] for line in own][-1] == "One fact."
    assert {line["act"] for line in await ledger(front, memory, act="kept")} == {"kept"}
    fields = {"seq", "version", "episode", "created_at", "chunk", "act", "turn", "said", "role", "score", "budget",
              "before", "after", "why"}  # fmt: skip
    assert set(whole[0]) == fields


async def test_an_export_holds_all_of_it(front: Any) -> None:
    await chat(front.user, "My cat is called Tom.")
    memory = await only(front)
    answer = await front.user.get(f"/v1/memories/{memory['id']}/export")
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["kind"] for row in rows[: 1 + len(memory["chunks"])]] == ["memory", *["chunk"] * len(memory["chunks"])]
    assert sum(row["kind"] == "ledger" for row in rows) == len(await ledger(front, memory, limit=500))
    assert "My cat is called Tom." in answer.text


async def test_another_tenants_memory_is_not_there(front: Any) -> None:
    await chat(front.user, "My cat is called Tom.")
    memory = await only(front)
    chunk = memory["chunks"][0]["id"]
    for method, path, body in (
        ("GET", "", None), ("GET", "/ledger", None), ("GET", "/export", None), ("DELETE", "", None),
        ("PATCH", f"/chunks/{chunk}", {"text": "x"}), ("DELETE", f"/chunks/{chunk}", None),
        ("POST", "/forget", {"words": "cat"}), ("POST", "/pins", {"text": "x"}),
    ):  # fmt: skip
        await call(front.operator, method, f"{memory['id']}{path}", body, status=404)
        await call(front.nobody, method, f"{memory['id']}{path}", body, status=401)
    assert (await front.operator.get("/v1/memories")).json() == {"data": []}
    assert await only(front) == memory


async def test_all_of_it_goes_at_once(front: Any, tmp_path: Path) -> None:
    await chat(front.user, "One.", session_id="a")
    await chat(front.user, "Two.", session_id="b")
    (memory,) = await memories(front, session="a")
    assert await call(front.user, "DELETE", memory["id"]) == {"id": memory["id"], "deleted": True}
    assert [one["key"] for one in await memories(front)] == ["b"]
    await call(front.user, "GET", memory["id"], status=404)
    await chat(front.user, "One.", session_id="a")
    assert (await memories(front, session="a"))[0]["id"] != memory["id"]


async def test_erasing_somebody_takes_what_is_remembered_of_them(front: Any, tmp_path: Path) -> None:
    use = {"memory": {"budget": 2000, "scope": "user"}}
    await chat(front.user, f"I live in {SECRET}.", **use, user="ann", session_id="s-1")
    await chat(front.user, f"My boat lies in {SECRET}.", user="ann", session_id="s-2")
    await chat(front.user, "And mine?", user="bob", session_id="s-2")
    await chat(front.user, "I live in Rome.", **use, user="bob", session_id="s-3")
    looked = (await front.user.get("/v1/users/ann")).json()
    assert len(looked["memories"]) == 2
    assert SECRET.encode() in raw(tmp_path)
    found = (await front.user.post("/v1/erase", json={"user": "ann"})).json()
    assert found["memories"] == 2
    assert [one["key"] for one in await memories(front)] == ["bob"]
    shared = {"user": "bob"}
    assert (await front.user.post("/v1/erase", json=shared)).json()["memories"] == 1
    assert SECRET.encode() not in raw(tmp_path)
    assert (await front.user.post("/v1/erase", json={"user": "ann"})).json()["memories"] == 0


async def test_what_its_tenant_keeps_for_a_time_goes_with_it_and_pins_stay(front: Any) -> None:
    await chat(front.user, "The code is 4821.")
    memory = await only(front)
    await call(front.user, "POST", f"{memory['id']}/pins", {"text": "Call me Ann."})
    await front.operator.put("/v1/policies/ann", json={"keep_days": 30})
    await sweep(front.house)
    assert len((await only(front))["chunks"]) == len(memory["chunks"]) + 1
    await sweep(front.house, now=4e9)
    assert said(await only(front)) == ["Call me Ann."]
    assert await ledger(front, memory) == []


async def test_a_trace_names_the_memory_that_a_reply_saw(front: Any) -> None:
    answer = await chat(front.user, "The code is 4821.")
    seen = answer.headers["x-anubhav-memory"]
    found = (await front.operator.get(f"/v1/trace/{answer.json()['id']}")).json()
    assert {"source": answer.json()["id"], "to": seen, "what": "remembered from"} in found["back"]
    node = next(one for one in found["nodes"] if one["id"] == seen)
    assert (node["kind"], node["facts"]["key"]) == ("memory", "s-1")
    (episode,) = (await front.user.get("/v1/episodes")).json()["data"]
    assert episode["memory"] == seen


async def test_the_page_shows_what_is_held_and_escapes_it(front: Any) -> None:
    await chat(front.user, "<script>alert(1)</script> My cat is called Tom.")
    memory = await only(front)
    cookie = {"cookie": f"anubhav={front.keyring.issue_ticket(Principal('local', 'key_1', operator=True))}"}
    listed = await front.nobody.get("/memory", headers=cookie)
    assert (listed.status_code, memory["id"] in listed.text) == (200, True)
    shown = await front.nobody.get("/memory", params={"id": memory["id"]}, headers=cookie)
    assert "&lt;script&gt;" in shown.text
    assert "<script>" not in shown.text
    assert "called Tom." in shown.text
    assert "unsafe" not in shown.headers["content-security-policy"]
    assert "style=" not in shown.text
    assert (await front.nobody.get("/memory", params={"id": "mem_none"}, headers=cookie)).status_code == 404
    for client in (front.nobody, front.user):
        assert (await client.get("/memory")).status_code == 401
