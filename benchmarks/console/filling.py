"""A database as years of use would leave it: so many episodes, a judgement on every second, a thousand runs.

A day has the same traffic however large the house: what a page shows of the last day stays as it is, and what lies
behind grows. What is judged is read already, by the critic and by laps, but for the last hundred.
"""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from anubhav.episodes.recorder import STAGE
from anubhav.rewards.critic import STAGE as CRITIC
from anubhav.store import experience, runs
from anubhav.store.migrations import migrate
from anubhav.store.runs import OpRow, RunRow
from anubhav.training.promises import Created, Stepped, write_outcome
from anubhav.types.chat import Message
from anubhav.types.experience import Choice, Episode, Feedback
from anubhav.types.ids import RunId
from anubhav.types.training import LoraSpec

A_DAY = 500
"""Episodes."""
_UNREAD = 100
_KINDS = ("thumb", "thumb", "thumb", "rating", "correction")


def fill(file: Path, episodes: int, runs_of: int = 1000) -> None:
    """Bring the database to so many episodes; it may hold fewer of ours already."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "secure_delete=OFF", "cache_size=-262144"):
        connection.execute(f"PRAGMA {pragma}")  # what is made here can be made again
    migrate(connection)
    (there,) = connection.execute("SELECT count(*) FROM episodes").fetchone()
    connection.execute("BEGIN")
    for episode in _episodes(there, episodes):
        experience.add_episode(connection, episode)
        if (number := int(episode.id[3:])) % 2 == 0:
            one = _judgement(episode, number)
            experience.add_feedback(connection, one, episode.alias, "", one.rater)
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM feedback").fetchone()
    for stage, left in ((CRITIC, 0), (STAGE, _UNREAD)):
        experience.advance(connection, stage, "default", max(0, last - left))
    if there == 0:
        for number in range(runs_of):
            _add_run(connection, number)
    connection.execute("COMMIT")
    connection.close()


def _episodes(start: int, end: int) -> Iterator[Episode]:
    begun = time.time() - end / A_DAY * 86_400.0
    for number in range(start, end):
        asked = (Message("user", f"Question {number}: how long may I return what I bought?"),)
        said = Choice((1, 2, 3), (-0.5, -0.5, -0.5), f"Answer {number}: within thirty days, with the receipt.", "stop")
        yield Episode(
            f"ep_{number:024d}", "local", "default", "tiny", None, asked, (1, 2), (said,), 1.0,
            begun + number / A_DAY * 86_400.0, 0.4, session=f"visit-{number // 4}", user=f"guest-{number % 997}",
            waited=0.1,
        )  # fmt: skip


def _judgement(episode: Episode, number: int) -> Feedback:
    kind = _KINDS[number // 2 % len(_KINDS)]
    return Feedback(
        f"fb_{number:024d}", "local", episode.id, 0, kind, episode.created_at + 5.0,
        None if kind == "correction" else float(number % 3 > 0), "Thirty days." if kind == "correction" else None,
        rater=f"rater-{number % 13}",
    )  # fmt: skip


def _add_run(connection: sqlite3.Connection, number: int) -> None:
    name, now = RunId(f"ses_{number:024d}:train:0"), time.time()
    runs.add_run(connection, RunRow(name, name.partition(":")[0], "local", "tiny", LoraSpec(rank=4), {}, now, now))
    outcomes = [
        ("Create", Created(name)),
        *[("Step", Stepped({"learning_rate": 0.1, "loss": 1.0 / (step + 1)})) for step in range(5)],
    ]
    for seq, (kind, outcome) in enumerate(outcomes):
        runs.add_op(connection, OpRow(name, seq, kind, b"", "", f"tp_{number}_{seq}", "pending", None))
        runs.settle_op(connection, name, seq, "done", write_outcome(outcome))
    connection.execute("UPDATE runs SET ended = 1 WHERE id = ?", (name,))
