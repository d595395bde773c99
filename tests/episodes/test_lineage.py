"""From a reply back to the raters it was learned from, and on from them; each walk is one indexed statement."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from test_recorder import episode

from anubhav.episodes.lineage import Lineage
from anubhav.episodes.recorder import Given, Recorder
from anubhav.errors import NotFound
from anubhav.releases.register import Register
from anubhav.store import lineage as rows
from anubhav.store.database import Database
from anubhav.types.experience import Lap, Release
from anubhav.types.people import Edge, Use


async def lap(database: Database, name: str, adapter: str, action: str, used: Iterable[Use]) -> None:
    release = Release(f"rel_{name}", "default", f"tinker://{name}", adapter, action, "ada", "", 1.0, name)  # type: ignore[arg-type]
    await Register(database).settle(release, Lap(name, "default", "done", "done", 1.0), "{}", None)
    await Lineage(database).used(name, used)


@pytest.fixture
async def taught(database: Database) -> Database:
    """Ann corrects ep_1 → lap_1 → ad_a answers ep_2, which tom likes → lap_2 → ad_b answers ep_3. lap_x was refused."""
    recorder = Recorder(database)
    await recorder.record(replace(episode("ep_1"), adapter=None, user="ann"))
    await recorder.react("ada", [Given("ep_1", "correction", text="Seven.", id="fb_1")])
    await lap(
        database,
        "lap_1",
        "ad_a",
        "promote",
        [Use("ep_1", 0, "fb_1", "imitated", 0), Use("ep_1", 0, "fb_1", "preferred", 1)],
    )
    await recorder.record(replace(episode("ep_2"), adapter="ad_a"))
    await recorder.react("ada", [Given("ep_2", "thumb", value=True, rater="tom", id="fb_2")])
    await lap(database, "lap_x", "ad_x", "discard", [Use("ep_1", 0, None, "replayed", 0)])
    await lap(database, "lap_2", "ad_b", "promote", [Use("ep_2", 0, "fb_2", "reinforced", 0)])
    await recorder.record(replace(episode("ep_3"), adapter="ad_b"))
    return database


async def test_back_from_a_reply(taught: Database) -> None:
    found = await Lineage(taught).trace("ep_3")
    assert set(found.back) >= {
        Edge("ep_3", "ad_b", "said by"), Edge("ad_b", "rel_lap_2", "released as"), Edge("ad_b", "lap_2", "made by"),
        Edge("lap_2", "ep_2", "reinforced in batch 0"), Edge("ep_2", "fb_2", "judged by"),
        Edge("fb_2", "ada/tom", "given by"), Edge("lap_2", "ad_a", "went on from"), Edge("ad_a", "lap_1", "made by"),
        Edge("lap_1", "ep_1", "imitated in batch 0"), Edge("lap_1", "ep_1", "preferred in batch 1"),
        Edge("fb_1", "ada/ann", "given by"),
    }  # fmt: skip
    kinds = {node.id: node.kind for node in found.nodes}
    assert (kinds["ad_a"], kinds["ada/tom"], kinds["lap_1"], found.cut) == ("adapter", "rater", "lap", False)
    assert "lap_x" not in kinds
    assert found.onward == ()


@pytest.mark.parametrize("name", ["rater:ann", "rater:ada/ann", "user:ann", "fb_1", "ep_1"])
async def test_on_from_a_person_or_what_they_said(taught: Database, name: str) -> None:
    found = await Lineage(taught).trace(name)
    reached = {edge.to for edge in found.onward}
    assert {"lap_1", "ad_a", "ep_2", "lap_2", "ad_b", "ep_3"} <= reached
    later = await Lineage(taught).trace("rater:tom")
    assert {edge.to for edge in later.onward} == {"fb_2", "lap_2", "rel_lap_2", "ad_b", "ep_3"}


async def test_laps_releases_and_the_unknown(taught: Database) -> None:
    lineage = Lineage(taught)
    for name in ("lap_1", "rel_lap_1", "ad_a"):
        found = await lineage.trace(name)
        assert "ep_1" in {edge.to for edge in found.back}, name
        assert "ep_3" in {edge.to for edge in found.onward}, name
    for name in ("ep_none", "fb_none", "lap_none", "rel_none", "ad_none", "rater:none", "user:ada/none", "what", ""):
        with pytest.raises(NotFound):
            await lineage.trace(name)


async def test_the_laps_that_were_taught_on_something(taught: Database) -> None:
    lineage = Lineage(taught)
    found = await lineage.taught_on(["ep_1"])
    assert [(one["lap"], one["direct"]) for one in found] == [("lap_1", True), ("lap_x", True), ("lap_2", False)]
    assert [(one["lap"], one["direct"]) for one in await lineage.taught_on(["fb_2"])] == [("lap_2", True)]
    assert await lineage.taught_on([]) == []


async def test_the_same_use_is_one_row(taught: Database) -> None:
    lineage = Lineage(taught)
    before = await taught.run(lambda c: c.execute("SELECT count(*) FROM used").fetchone()[0])
    await lineage.used("lap_2", [("ep_2", 0, "fb_2", "reinforced", 0)])
    assert await taught.run(lambda c: c.execute("SELECT count(*) FROM used").fetchone()[0]) == before


async def test_walks_scan_no_table_of_experience(taught: Database) -> None:
    given = {"kind": "reply", "id": "ep_3", "name": None, "tenant": None, "names": "[]"}
    for statement in (rows._BACK, rows._ONWARD, rows._TAUGHT):
        plan = await taught.run(
            lambda c, statement=statement: [
                row["detail"] for row in c.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            ]
        )
        assert not [line for line in plan if line.startswith(("SCAN episodes", "SCAN feedback", "SCAN used"))], plan
