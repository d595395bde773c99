"""The journal's own rules, whoever calls it."""

from anubhav.store import runs
from anubhav.store.database import Connection, Database
from anubhav.store.runs import OpRow, RunRow
from anubhav.types.ids import RunId
from anubhav.types.training import LoraSpec

RUN = RunId("ses_1:train:0")


def begin(connection: Connection) -> None:
    runs.add_run(connection, RunRow(RUN, "ses_1", "alice", "tiny", LoraSpec(), {}, 0.0, 0.0))
    for seq in range(5):
        runs.add_op(connection, OpRow(RUN, seq, "Step", b"body", f"digest {seq}", f"tp_{seq}", "pending", None))


async def test_a_result_that_stands_is_never_changed(database: Database) -> None:
    await database.run(begin)
    await database.run(lambda c: runs.settle_op(c, RUN, 1, "done", b"first"))
    await database.run(lambda c: runs.settle_op(c, RUN, 1, "failed", b"second"))
    op = await database.run(lambda c: runs.find_op(c, RUN, 1))
    assert op is not None
    assert (op.state, op.result) == ("done", b"first")


async def test_ending_settles_only_what_is_open(database: Database) -> None:
    await database.run(begin)
    await database.run(lambda c: runs.settle_op(c, RUN, 0, "done", b"kept"))
    assert sorted(await database.run(lambda c: runs.end_run(c, RUN, b"ended"))) == [f"tp_{seq}" for seq in range(1, 5)]
    ops = await database.run(lambda c: runs.ops_from(c, RUN, 0))
    assert [op.result for op in ops] == [b"kept", b"ended", b"ended", b"ended", b"ended"]
    assert await database.run(runs.waiting_runs) == []


async def test_the_last_settled_is_found_among_the_open(database: Database) -> None:
    assert await database.run(lambda c: runs.last_settled(c, RUN)) == -1
    await database.run(begin)
    for seq in (0, 1, 2):
        await database.run(lambda c, seq=seq: runs.settle_op(c, RUN, seq, "done", b""))
    assert await database.run(lambda c: runs.last_settled(c, RUN)) == 2


async def test_emptied_bodies_keep_their_digest(database: Database) -> None:
    await database.run(begin)
    await database.run(lambda c: runs.empty_bodies(c, RUN, 3))
    ops = await database.run(lambda c: runs.ops_from(c, RUN, 0))
    assert [op.body for op in ops] == [b"body", b"", b"", b"body", b"body"]
    assert [op.digest for op in ops] == [f"digest {seq}" for seq in range(5)]
