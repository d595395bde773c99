"""The run book: what happened to a run, and why what failed did."""

import pytest

from anubhav.errors import BadInput
from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow
from anubhav.training.promises import Created, Saved, Stepped, write_outcome
from anubhav.training.runbook import RunBook
from anubhav.types.ids import RunId
from anubhav.types.training import LoraSpec

RUN = RunId("ses_1:train:0")


def entered(connection: Connection) -> None:
    runs.add_run(connection, RunRow(RUN, "ses_1", "ann", "tiny", LoraSpec(rank=4), {}, 1.0, 1.0))
    told = [
        ("Create", Created(RUN)), ("Step", Stepped({"loss": 1.0})), ("Compute", BadInput("too long", hint="Cut it.")),
        ("Save", Saved("tinker://ses_1:train:0/weights/a")), ("Refusal", BadInput("no such loss")), ("Save", None),
    ]  # fmt: skip
    for seq, (kind, outcome) in enumerate(told):
        runs.add_op(connection, OpRow(RUN, seq, kind, b"", "", f"tp_{seq}", "pending", None))
        if outcome:
            state = "failed" if isinstance(outcome, BadInput) else "done"
            runs.settle_op(connection, RUN, seq, state, write_outcome(outcome))


async def test_events_come_newest_first_with_their_causes(database: Database) -> None:
    await database.run(entered)
    found = await RunBook(database).events(RUN, 10)
    assert [(one.seq, one.what, one.cause) for one in found] == [
        (5, "waits", "Save"), (4, "refused", "no such loss"), (3, "saved", "tinker://ses_1:train:0/weights/a"),
        (2, "failed", "Compute: too long. Cut it."), (0, "begun", "from a fresh adapter"),
    ]  # fmt: skip
    assert [one.seq for one in await RunBook(database).events(RUN, 2)] == [5, 4]


async def test_passes_and_steps_are_not_looked_at(database: Database) -> None:
    await database.run(entered)
    count = "SELECT count(*) AS count FROM ops INDEXED BY ops_told WHERE kind NOT IN ('Compute', 'Step', 'Distil')"
    query = f"{count} OR state = 'failed'"
    assert await database.run(lambda c: c.execute(query).fetchone()["count"]) == 5
    plan = await database.run(lambda c: [row["detail"] for row in c.execute(f"EXPLAIN QUERY PLAN {query}")])
    assert any("ops_told" in line for line in plan), plan


@pytest.mark.parametrize("name", ["", "ses_2:train:0"])
async def test_a_run_that_is_not_there_has_none(database: Database, name: str) -> None:
    assert await RunBook(database).events(name, 10) == []
