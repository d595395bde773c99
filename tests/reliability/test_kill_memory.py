"""Memory against `kill -9`: what an answered request said is remembered, once, by the server that comes up again."""

import json
import random
import threading
import time
from pathlib import Path

import httpx2
from fake_model import write_model
from test_kill import KEY, Server

HEADERS = {"x-api-key": KEY}


def test_answered_turns_are_remembered_through_kills(tmp_path: Path) -> None:
    write_model(tmp_path / "table", 32_768)
    server = Server(tmp_path / "table", tmp_path / "data")
    server.wait()
    chance = random.Random(7)

    def restart() -> None:
        server.kill()
        server.start()

    told: list[str] = []
    for number in range(40):
        if number % 8 == 3:
            threading.Timer(chance.uniform(0, 0.05), restart).start()
        text = f"Fact {number} is {5000 + number}."
        insist(server, text)
        told.append(text)
    server.wait()
    restart()
    server.wait()
    (found,) = httpx2.get(f"{server.url}/v1/memories", headers=HEADERS, timeout=30).json()["data"]
    memory = httpx2.get(f"{server.url}/v1/memories/{found['id']}", headers=HEADERS, timeout=30).json()
    server.close()
    assert [chunk["text"] for chunk in memory["chunks"] if chunk["role"] == "user"] == told
    assert memory["tokens"] == sum(chunk["tokens"] for chunk in memory["chunks"]) <= 16_000
    assert json.dumps(memory).count("Fact 3 is 5003.") == 1


def insist(server: Server, text: str) -> None:
    """Ask until it is answered, as clients do."""
    body = {
        "model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 2, "session_id": "s",
        "memory": {"budget": 16_000},
    }  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            answer = httpx2.post(f"{server.url}/v1/chat/completions", json=body, headers=HEADERS, timeout=10)
            if answer.status_code == 200:
                return
            assert answer.status_code == 503, answer.text
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("nobody answered")
