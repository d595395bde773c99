"""Sessions as their owner looks at them."""

import pytest
from workshop import STEP, TENANT, Workshop, learn, save

from anubhav.errors import NotFound
from anubhav.training.sessions import Wanted


async def open_named(workshop: Workshop, name: str, project: str | None = None, **metadata: str) -> str:
    session = await workshop.desk.open_session(TENANT, [], metadata, "test")
    await workshop.desk.sessions.describe(TENANT, session, project, name)
    return session


async def found(workshop: Workshop, wanted: Wanted, tenant: str = TENANT) -> list[str]:
    return [one.id for one in (await workshop.desk.sessions.search(tenant, wanted, 50))[0]]


async def test_a_cursor_that_was_rounded_neither_repeats_nor_skips(workshop: Workshop) -> None:
    made = [await open_named(workshop, "page") for _ in range(20)]
    seen: list[str] = []
    after = None
    while True:
        page, more = await workshop.desk.sessions.search(TENANT, Wanted(after=after), 3)
        seen += [one.id for one in page]
        if not more:
            break
        after = (round(page[-1].created_at, 3), page[-1].id)
    assert seen == made[::-1]


async def test_each_filter_must_hold_but_id_and_name_are_alternatives(workshop: Workshop) -> None:
    one = await open_named(workshop, "Nightly Sums", "p", team="blue")
    two = await open_named(workshop, "daily sums", team="red")
    assert await found(workshop, Wanted(words=("SUMS",))) == [two, one]
    assert await found(workshop, Wanted(words=("sums", "night"))) == [one]
    assert await found(workshop, Wanted(id=two, words=("nightly",))) == [two, one]
    assert await found(workshop, Wanted(projects=("p",))) == [one]
    assert await found(workshop, Wanted(projects=(None,))) == [two]
    assert await found(workshop, Wanted(metadata=(("team", "red"),))) == [two]
    assert await found(workshop, Wanted(id=one, metadata=(("team", "red"),))) == []
    await workshop.desk.finish_session(TENANT, one, "errored", "out of patience")
    await workshop.desk.finish_session(TENANT, one, "success")
    assert await found(workshop, Wanted(states=(("active", None),))) == [two]
    assert await found(workshop, Wanted(states=(("client_finished", ("errored",)),))) == [one]
    assert await found(workshop, Wanted(states=(("client_finished", ("success",)),))) == []
    assert await found(workshop, Wanted(states=(("active", None), ("client_finished", None)))) == [two, one]
    info = await workshop.desk.sessions.find(TENANT, one)
    assert (info.state, info.finished, info.detail) == ("client_finished", "errored", "out of patience")
    assert await found(workshop, Wanted(), "mallory") == []


async def test_another_tenants_session_is_not_there(workshop: Workshop) -> None:
    session = await open_named(workshop, "mine")
    sessions = workshop.desk.sessions
    for refused in (
        sessions.find("mallory", session),
        sessions.parts("mallory", session),
        sessions.move("mallory", session, "theirs"),
        sessions.trace("mallory", session),
        sessions.describe("mallory", session, "theirs", None),
    ):
        with pytest.raises(NotFound):
            await refused
    assert (await sessions.find(TENANT, session)).project is None


async def test_the_trace_has_a_track_for_each_run_in_its_order(workshop: Workshop) -> None:
    run = await workshop.new_run()
    # Handed in backwards, so that the first ones waited for their turn.
    promises = [
        await workshop.submit(run, 3, save("x")),
        await workshop.submit(run, 2, STEP),
        await workshop.submit(run, 1, learn((1, 2, 3))),
    ]
    for promise in promises:
        await workshop.wait(promise)
    session = run.partition(":train:")[0]
    await workshop.submit(run, 9, STEP)
    events = (await workshop.desk.sessions.trace(TENANT, session))["traceEvents"]
    done = [event for event in events if event["ph"] == "X"]
    assert [event["args"]["seq"] for event in done] == [0, 1, 2, 3]
    ends = [event["ts"] + event["dur"] for event in done]
    assert all(end <= later["ts"] for end, later in zip(ends, done[1:], strict=False))
    assert [event["args"]["seq"] for event in events if event["ph"] == "i"] == [9]
    assert [event["args"]["name"] for event in events if event["name"] == "thread_name"] == [run]
