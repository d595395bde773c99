"""A fine-tuning job against `kill -9`: it goes on at the next start, every step is done once and told once."""

import json
import random
import sqlite3
import time
from pathlib import Path
from typing import Any

from fake_model import write_model
from openai import OpenAI
from test_kill import KEY, Server

ROWS = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n * n}."}]}
    for n in range(20)
]
EPOCHS, KILLS = 10, 3
STEPS = EPOCHS * len(ROWS)


def test_a_job_through_kills_takes_every_step_once(tmp_path: Path) -> None:
    write_model(tmp_path / "table")
    server = Server(tmp_path / "table", tmp_path / "data")
    server.wait()
    with OpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
        data = "\n".join(map(json.dumps, ROWS)).encode()
        file = client.files.create(file=("rows.jsonl", data), purpose="fine-tune").id
        numbers: Any = {"n_epochs": EPOCHS, "batch_size": 1}
        method: Any = {"type": "supervised", "supervised": {"hyperparameters": numbers}}
        job = client.fine_tuning.jobs.create(model="table", training_file=file, method=method).id
        rng, states = random.Random(5), list[str]()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0.1, 0.6))
            server.kill()
            server.start()
            server.wait()
            states.append(client.fine_tuning.jobs.retrieve(job).status)
        until = time.monotonic() + 120
        while (done := client.fine_tuning.jobs.retrieve(job)).status != "succeeded":
            assert done.status in ("validating_files", "queued", "running"), done.error
            assert time.monotonic() < until
            time.sleep(0.1)
        told: list[Any] = [event.data for event in client.fine_tuning.jobs.list_events(job, limit=100)]
        assert len(client.fine_tuning.jobs.checkpoints.list(job, limit=100).data) == EPOCHS
        asked: Any = [{"role": "user", "content": "3?"}]
        assert client.chat.completions.create(model=done.fine_tuned_model or "", messages=asked, max_tokens=4).choices
    server.close()
    assert [one["step"] for one in told if one] == list(range(STEPS, 0, -1))
    with sqlite3.connect(tmp_path / "data" / "anubhav.db") as database:
        counted = dict(database.execute("SELECT kind, count(*) FROM ops WHERE state = 'done' GROUP BY kind").fetchall())
    assert counted == {"Create": 1, "Compute": STEPS, "Step": STEPS, "Save": EPOCHS}
    assert "running" in states, "no kill met a job that ran"
