"""`anubhav serve` as a process: what it prints, refuses, keeps, and how it stops."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from fake_model import write_model

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    model = tmp_path / "tiny"
    write_model(model)
    running: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, data: str = "data") -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "anubhav", "serve", "--port", "0", "--model", str(model)]
        command += ["--data-dir", str(tmp_path / data), *arguments]
        environment = {key: value for key, value in os.environ.items() if key != "ANUBHAV_API_KEY"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def await_ready(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """(URL, API key) as printed."""
    assert process.stdout is not None
    url = key = ""
    for line in process.stdout:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/\?token=\S+", line):
            url = found[1]
        if found := re.search(r"API key +(tml-\S+)", line):
            key = found[1]
        if "anubhav lap" in line:
            return url, key
    raise AssertionError(process.stderr.read() if process.stderr else "it ended")


def test_it_starts_serves_and_stops_with_exit_code_0(start: Start, tmp_path: Path) -> None:
    process = start("--alias", "Qwen/Qwen3-8B=" + str(tmp_path / "tiny"))
    url, key = await_ready(process)
    kept = tmp_path / "data" / "api-key"
    assert kept.read_text().strip() == key
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert httpx2.get(f"{url}/healthz").json() == {"status": "ok", "models": ["tiny", "Qwen/Qwen3-8B"]}
    body = {"model": "Qwen/Qwen3-8B", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    headers = {"authorization": f"Bearer {key}"}
    assert httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers).status_code == 200
    told = httpx2.get(f"{url}/v1/configuration", headers=headers).json()["data"]
    origins = {one["setting"]: (one["value"], one["origin"]) for one in told}
    assert (origins["port"], origins["samplers"]) == ((0, "--port"), (1, "default"))
    assert origins["api_key"] == ("(not shown)", str(kept))

    second = start()
    assert second.wait(30) == 1
    assert second.stderr is not None
    complaint = second.stderr.read()
    assert "--data-dir" in complaint
    assert "Traceback" not in complaint

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    again = start()
    assert await_ready(again)[1] == key


def test_a_taken_port_is_told_at_once(start: Start) -> None:
    url, _ = await_ready(start())
    other = start("--port", url.rpartition(":")[2], data="other")
    assert other.wait(30) == 1
    assert other.stderr is not None
    assert "--port" in other.stderr.read()


def test_what_runs_is_finished_before_it_stops(start: Start) -> None:
    process = start()
    url, key = await_ready(process)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 400, "n": 16}
    answers: list[int] = []

    def ask() -> None:
        response = httpx2.post(f"{url}/v1/chat/completions", json=body, headers={"x-api-key": key}, timeout=60)
        answers.append(response.status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    asking.join()
    assert answers == [200]


def test_a_second_signal_stops_it_at_once_and_loses_nothing(start: Start) -> None:
    process = start()
    url, key = await_ready(process)
    headers = {"x-api-key": key}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 450, "n": 128}
    short = httpx2.post(f"{url}/v1/chat/completions", json={**body, "max_tokens": 2, "n": 1}, headers=headers).json()
    asking = threading.Thread(target=_ask_in_vain, args=(url, body, headers))
    asking.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(10)
    assert time.monotonic() - began < 5
    asking.join()
    url, _ = await_ready(start())
    kept = httpx2.get(f"{url}/v1/episodes", headers=headers).json()["data"]
    assert [episode["id"] for episode in kept] == [short["id"]]


def _ask_in_vain(url: str, body: dict[str, object], headers: dict[str, str]) -> None:
    with pytest.raises(httpx2.HTTPError):
        httpx2.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
