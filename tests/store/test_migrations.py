"""The schema's steps: what an older server wrote is read by this one, whichever step it stopped at."""

import sqlite3
import time

import msgspec
import pytest

from anubhav.store import checkpoints, experience, lineage, sessions, usage
from anubhav.store.migrations import _PEOPLE, STEPS, migrate
from anubhav.types.experience import Episode, Feedback


def written_at(step: int) -> sqlite3.Connection:
    """A database of the time when there were so many steps, with a session, a run and a checkpoint in it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    for number, script in enumerate(STEPS[:step], start=1):
        connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {number}")
    now = time.time()
    connection.execute(
        "INSERT INTO sessions (id, tenant, tags, metadata, sdk, created_at) VALUES ('s', 'ada', '[]', '{}', '', ?)",
        (now,),
    )
    connection.execute(
        "INSERT INTO runs (id, session, tenant, base_model, spec, metadata, created_at, used_at)"
        " VALUES ('s:train:0', 's', 'ada', 'tiny', '{}', '{}', ?, ?)",
        (now, now),
    )
    connection.execute(
        "INSERT INTO checkpoints (path, run, kind, name, tenant, base_model, spec, adapter, folder, manifest,"
        " has_optimizer, size_bytes, created_at) VALUES ('tinker://s:train:0/weights/x', 's:train:0', 'weights', 'x',"
        " 'ada', 'tiny', '{}', 'ad_1', 'checkpoints/ck_1', '{}', 1, 123, ?)",
        (now,),
    )
    return connection


@pytest.mark.parametrize("step", [1, 2])
def test_checkpoints_of_an_older_server_are_kept_and_counted(step: int) -> None:
    connection = written_at(step)
    migrate(connection)
    (found,) = checkpoints.list_of(connection, "ada", None)
    assert (found.size_bytes, found.expires_at, found.metadata, found.public) == (123, None, None, False)
    (shelf,) = usage.shelves(connection, "ada", None)
    assert (shelf.checkpoints, shelf.size_bytes) == (1, 123)
    session = sessions.find(connection, "ada", "s")
    assert session is not None
    assert (session.checkpoints, session.project, session.state) == (1, None, "active")
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(STEPS)
    connection.close()


def test_episodes_of_an_older_server_are_found_by_lineage() -> None:
    connection = written_at(STEPS.index(_PEOPLE))
    episode = Episode("ep_1", "ada", "default", "tiny", "ad_1", (), (1,), (), 1.0, 1.0, 1.0, "s-1")
    feedback = Feedback("fb_1", "ada", "ep_1", 0, "thumb", 1.0, 1.0)
    connection.execute(
        "INSERT INTO episodes (id, tenant, alias, session, body, created_at)"
        " VALUES ('ep_1', 'ada', 'default', 's-1', ?, 1)",
        (msgspec.msgpack.encode(episode),),
    )
    connection.execute(
        "INSERT INTO feedback (id, tenant, episode, alias, kind, body, digest, created_at)"
        " VALUES ('fb_1', 'ada', 'ep_1', 'default', 'thumb', ?, '', 1)",
        (msgspec.msgpack.encode(feedback),),
    )
    migrate(connection)
    assert [experience.fill_columns(connection, 10) for _ in range(2)] == [1, 0]
    found = lineage.trace(connection, "ep_1")
    assert found is not None
    assert [(edge.to, edge.what) for edge in found.back] == [("ad_1", "said by")]
    assert lineage.trace(connection, "rater:session:s-1") is not None
    assert experience.last_main(connection, "ada", "s-1") is not None
    connection.close()
