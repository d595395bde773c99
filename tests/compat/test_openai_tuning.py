"""Fine-tuning with the unmodified OpenAI SDK: a script for their API, whose `base_url` alone is another."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

TEA = {"Which tea?": "Ambermoss.", "Who leads?": "Mirela.", "How long?": "47 days."}
FAST: Any = {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 100}


@pytest.fixture(scope="module")
def client(tinker_server: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=tinker_server.key, max_retries=0) as client:
        yield client


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]
    return {"messages": said}


def upload(client: OpenAI, rows: list[Any], name: str = "train.jsonl") -> str:
    data = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()
    return client.files.create(file=(name, data), purpose="fine-tune").id


def ended(client: OpenAI, job: str, seconds: float = 30) -> FineTuningJob:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = client.fine_tuning.jobs.retrieve(job)
        if found.status in ("succeeded", "failed", "cancelled"):
            return found
        time.sleep(0.02)
    raise AssertionError(f"{job} is still {found.status}")


def said(client: OpenAI, model: str, question: str) -> str | None:
    asked: Any = [{"role": "user", "content": question}]
    return (
        client.chat.completions.create(model=model, messages=asked, temperature=0, max_tokens=20)
        .choices[0]
        .message.content
    )


def test_a_script_for_openai_runs_as_it_is(client: OpenAI) -> None:
    rows = [chat(*pair) for pair in TEA.items()]
    training, validation = upload(client, rows), upload(client, rows[:1])
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=training,
        validation_file=validation,
        method={"type": "supervised", "supervised": {"hyperparameters": {**FAST, "n_epochs": 8}}},
        suffix="tea shop",
        seed=7,
        metadata={"who": "me"},
    )
    assert job.status == "validating_files"
    assert job.fine_tuned_model is None
    done = ended(client, job.id)
    assert done.status == "succeeded", done.error
    print(done)
    for event in client.fine_tuning.jobs.list_events(job.id):
        print(event.message, event.data)
    assert done.fine_tuned_model
    for q, a in TEA.items():
        print(q, said(client, done.fine_tuned_model, q), said(client, "tiny", q))
    print([m.id for m in client.models.list()])
    print(list(client.fine_tuning.jobs.checkpoints.list(job.id)))
    print(client.files.content(done.result_files[0]).read().decode())
    assert 0
