"""A lap against `kill -9`: the next start begins it again, and in the end there is one release and nothing unread."""

import random
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx2
from fake_model import write_model
from test_kill import KEY, Server

FACTS = {"How long?": "47 days.", "How much?": "6 euros.", "Who leads?": "Mirela."}
KILLS = 4


def test_a_lap_through_kills_is_released_once(tmp_path: Path) -> None:
    write_model(tmp_path / "table")
    server = Server(tmp_path / "table", tmp_path / "data")
    server.wait()

    def call(method: str, path: str, **body: Any) -> Any:
        answer = httpx2.request(
            method, f"{server.url}{path}", json=body or None, headers={"x-api-key": KEY}, timeout=60
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    for question, told in FACTS.items():
        said = [{"role": "user", "content": question}]
        reply = call("POST", "/v1/chat/completions", model="default", messages=said, max_tokens=4)
        call("POST", "/v1/feedback", target=reply["id"], kind="correction", text=told)
    call("POST", "/v1/laps", alias="default")
    rng, phases = random.Random(3), list[str]()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.1, 0.9))
        server.kill()
        server.start()
        server.wait()
        running = call("GET", "/v1/learning/default")["running"]
        phases.append(running["phase"] if running else "none")
    until = time.monotonic() + 120
    while call("GET", "/v1/learning/default")["running"] and time.monotonic() < until:
        time.sleep(0.2)
    stood = call("GET", "/v1/learning/default")
    server.close()
    assert stood["unread"] == 0, (stood, phases)
    assert "done" in [lap["state"] for lap in stood["recent"]]
    with sqlite3.connect(tmp_path / "data" / "anubhav.db") as database:
        states = [row[0] for row in database.execute("SELECT state FROM laps ORDER BY seq")]
        actions = [row[0] for row in database.execute("SELECT action FROM releases ORDER BY seq")]
    assert states.count("done") == len(actions) == 1, (states, actions)
    assert "interrupted" in states, "no kill met a lap that ran"
