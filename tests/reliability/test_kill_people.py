"""The client of feedback and erasure against `kill -9`: what was judged counts once, what was erased stays gone."""

import sqlite3
import threading
from pathlib import Path

import httpx2
from fake_model import write_model
from test_kill import KEY, Server

from anubhav.feedback import Feedback


def test_feedback_through_kills_counts_once_and_the_erased_stay_gone(tmp_path: Path) -> None:
    write_model(tmp_path / "table")
    server = Server(tmp_path / "table", tmp_path / "data")
    server.wait()
    headers = {"x-api-key": KEY}
    asked = {"model": "default", "messages": [{"role": "user", "content": "zanzibar"}], "max_tokens": 2, "user": "ann"}
    names: list[str] = []
    for user in ("ann", "bob"):
        reply = httpx2.post(
            f"{server.url}/v1/chat/completions", json=asked | {"user": user}, headers=headers, timeout=30
        )
        names.append(reply.json()["id"])

    def restart() -> None:
        server.kill()
        server.start()

    with Feedback(server.url, KEY, retries=12) as client:
        for number in range(60):
            if number in (10, 40):
                threading.Timer(0.005 * (number % 7), restart).start()
            client.rate(names[number % 2], 0.5, rater=f"rater-{number}")
        for number in range(60):  # an application that lost track says it all again
            assert client.rate(names[number % 2], 0.5, rater=f"rater-{number}").status == "repeated"
    server.wait()
    erased = httpx2.post(f"{server.url}/v1/erase", json={"user": "ann"}, headers=headers, timeout=30).json()
    assert (erased["removed"], erased["feedback"]) == ([names[0]], 30)
    restart()
    server.wait()
    again = httpx2.post(f"{server.url}/v1/erase", json={"user": "ann"}, headers=headers, timeout=30).json()
    assert (again["removed"], again["feedback"]) == ([], 0)
    server.close()
    with sqlite3.connect(tmp_path / "data" / "anubhav.db") as database:
        rows = database.execute(
            "SELECT episode, count(*), count(DISTINCT rater) FROM feedback GROUP BY episode"
        ).fetchall()
        assert rows == [(names[1], 30, 30)]
    database.close()
