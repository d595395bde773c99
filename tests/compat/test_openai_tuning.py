"""Fine-tuning with the unmodified OpenAI SDK: a script for their API, whose `base_url` alone is another."""

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

TENANT = "tuning-alice"
TEA = {"Which tea?": "Ambermoss.", "Who leads?": "Mirela.", "How long?": "47 days."}
FAST: Any = {"n_epochs": 8, "batch_size": 2, "learning_rate_multiplier": 100}
SLOW: Any = {"n_epochs": 50, "batch_size": 1}


@pytest.fixture(scope="module")
def client(tinker_server: Any) -> Iterator[OpenAI]:
    key = tinker_server.add_key(TENANT)
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(tinker_server: Any) -> Iterator[OpenAI]:
    key = tinker_server.add_key("tuning-eve")
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=key, max_retries=0) as stranger:
        yield stranger


def chat(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def preference(question: str, good: str, bad: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": question}], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [{"role": "assistant", "content": good}],
        "non_preferred_output": [{"role": "assistant", "content": bad}],
    }


def upload(client: OpenAI, rows: list[Any]) -> str:
    data = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()
    return client.files.create(file=("train.jsonl", data), purpose="fine-tune").id


def supervised(numbers: Any) -> Any:
    return {"type": "supervised", "supervised": {"hyperparameters": numbers}}


def until(client: OpenAI, job: str, done: Callable[[FineTuningJob], bool], seconds: float = 30) -> FineTuningJob:
    end = time.monotonic() + seconds
    while not done(found := client.fine_tuning.jobs.retrieve(job)):
        assert time.monotonic() < end, f"{job} is still {found.status}"
        time.sleep(0.02)
    return found


def ended(client: OpenAI, job: str) -> FineTuningJob:
    return until(client, job, lambda found: found.status in ("succeeded", "failed", "cancelled"))


def losses(client: OpenAI, job: str) -> list[float]:
    """Of every step, the first one first."""
    told: list[Any] = [event.data for event in client.fine_tuning.jobs.list_events(job) if event.type == "metrics"]
    return [one["train_loss"] for one in reversed(told)]


def say(client: OpenAI, model: str | None, question: str) -> str | None:
    asked: Any = [{"role": "user", "content": question}]
    reply = client.chat.completions.create(model=model or "", messages=asked, temperature=0, max_tokens=20)
    return reply.choices[0].message.content


@pytest.fixture(scope="module")
def taught(client: OpenAI) -> FineTuningJob:
    """A job that has learned what the tea shop says."""
    rows = [chat(*pair) for pair in TEA.items()]
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=upload(client, rows),
        validation_file=upload(client, rows[:1]),
        method=supervised(FAST),
        suffix="tea shop",
        seed=7,
        metadata={"shop": "tea"},
    )
    assert (job.status, job.fine_tuned_model, job.trained_tokens) == ("validating_files", None, None)
    return ended(client, job.id)


def test_a_finished_model_answers_at_once(client: OpenAI, taught: FineTuningJob) -> None:
    assert taught.status == "succeeded", taught.error
    assert taught.fine_tuned_model == f"ft:tiny:{TENANT}:tea-shop:{taught.id[-8:]}"
    assert {question: say(client, taught.fine_tuned_model, question) for question in TEA} == TEA
    assert {question: say(client, "tiny", question) for question in TEA} != TEA
    listed = {model.id: model.owned_by for model in client.models.list()}
    assert listed == {"tiny": "anubhav", "default": "anubhav", taught.fine_tuned_model: TENANT}
    assert client.models.retrieve(taught.fine_tuned_model).id == taught.fine_tuned_model
    assert taught.hyperparameters.model_dump() == FAST
    assert (taught.seed, taught.metadata, taught.organization_id) == (7, {"shop": "tea"}, TENANT)
    assert taught.trained_tokens and taught.trained_tokens % 8 == 0
    assert taught.created_at <= (taught.finished_at or 0)


def test_events_tell_every_step_once(client: OpenAI, taught: FineTuningJob) -> None:
    events = list(client.fine_tuning.jobs.list_events(taught.id, limit=7))
    assert len({event.id for event in events}) == len(events)
    told: list[Any] = [event.data for event in events if event.type == "metrics"]
    assert [one["step"] for one in told] == list(range(16, 0, -1))
    assert told[0]["train_loss"] < told[-1]["train_loss"]
    assert [one["step"] for one in told if "valid_loss" in one] == list(range(16, 0, -2))
    messages = [event.message for event in events if event.type == "message"]
    assert messages[0] == "The job has successfully completed"
    assert messages[-1] == f"Created fine-tuning job: {taught.id}"
    written = client.files.content(taught.result_files[0]).read().decode().splitlines()
    assert written[0] == "step,train_loss,valid_loss"
    assert [float(line.split(",")[1]) for line in written[1:]] == [one["train_loss"] for one in reversed(told)]


def test_every_epoch_leaves_a_model(client: OpenAI, taught: FineTuningJob) -> None:
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(taught.id, limit=3))
    assert [one.step_number for one in checkpoints] == list(range(16, 0, -2))
    valid = [one.metrics.full_valid_loss or 0 for one in checkpoints]
    assert valid == sorted(valid)
    assert client.models.retrieve(checkpoints[0].fine_tuned_model_checkpoint).owned_by == TENANT
    first, last = checkpoints[-1].fine_tuned_model_checkpoint, checkpoints[0].fine_tuned_model_checkpoint
    assert say(client, last, "Who leads?") == "Mirela."
    assert say(client, first, "Who leads?") != "Mirela."


def test_a_job_goes_on_from_another_ones_model(client: OpenAI, taught: FineTuningJob) -> None:
    file = upload(client, [chat(*pair) for pair in TEA.items()])
    job = client.fine_tuning.jobs.create(
        model=taught.fine_tuned_model or "", training_file=file, method=supervised({**FAST, "n_epochs": 2})
    )
    done = ended(client, job.id)
    assert done.status == "succeeded", done.error
    assert done.model == taught.fine_tuned_model
    assert done.fine_tuned_model
    assert done.fine_tuned_model.startswith(f"ft:tiny:{TENANT}::")
    assert max(losses(client, job.id)) < losses(client, taught.id)[8], "it begins where the other one ended"
    assert say(client, done.fine_tuned_model, "Who leads?") == "Mirela."
    assert client.models.delete(done.fine_tuned_model).deleted
    with pytest.raises(openai.NotFoundError):
        say(client, done.fine_tuned_model, "Who leads?")
    assert done.fine_tuned_model not in [model.id for model in client.models.list()]
    for one in client.fine_tuning.jobs.checkpoints.list(job.id):
        client.models.delete(one.fine_tuned_model_checkpoint)
    assert not client.fine_tuning.jobs.checkpoints.list(job.id).data
    with pytest.raises(openai.NotFoundError):
        client.models.delete(done.fine_tuned_model)


def test_dpo_prefers_what_people_do(client: OpenAI) -> None:
    rows = [preference("Tea?", "Yes.", "No."), preference("Milk?", "Yes.", "No.")]
    numbers: Any = {"n_epochs": 20, "batch_size": 2, "beta": 0.5, "learning_rate_multiplier": 100}
    job = client.fine_tuning.jobs.create(
        model="tiny",
        training_file=upload(client, rows),
        validation_file=upload(client, rows[:1]),
        method={"type": "dpo", "dpo": {"hyperparameters": numbers}},
    )
    done = ended(client, job.id)
    assert done.status == "succeeded", done.error
    assert done.method is not None
    assert done.method.dpo is not None
    assert done.method.dpo.to_dict()["hyperparameters"] == numbers
    found = losses(client, job.id)
    assert found[0] == pytest.approx(math.log(2)), "at first policy and reference are one"
    assert found == sorted(found, reverse=True)
    (last,) = client.fine_tuning.jobs.checkpoints.list(job.id, limit=1).data
    assert (last.metrics.full_valid_loss or 1) < 0.6


def test_a_job_rests_and_goes_on_where_it_was(client: OpenAI) -> None:
    file = upload(client, [chat(*pair) for pair in TEA.items()])
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file, method=supervised(SLOW))
    until(client, job.id, lambda found: found.status == "running")
    assert client.fine_tuning.jobs.pause(job.id).status == "paused"
    at = client.fine_tuning.jobs.list_events(job.id).data[0].id
    time.sleep(0.1)
    assert client.fine_tuning.jobs.list_events(job.id).data[0].id == at
    assert client.fine_tuning.jobs.retrieve(job.id).status == "paused"
    assert client.files.delete(file).deleted, "the job has its own hold on the bytes"
    assert client.fine_tuning.jobs.resume(job.id).status in ("queued", "running")
    behind = client.fine_tuning.jobs.create(
        model="tiny", training_file=upload(client, [chat("a", "b")]), method=supervised(FAST)
    )
    until(client, behind.id, lambda found: found.status == "queued")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    assert ended(client, behind.id).status == "succeeded", "the next one had its turn"
    for change in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            change(job.id)


def test_what_is_left_open_is_chosen_by_the_recipe(client: OpenAI) -> None:
    auto: Any = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
    file = upload(client, [chat(f"{number}?", "Yes.") for number in range(20)])
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file, method=supervised(auto))
    assert job.hyperparameters.to_dict() == auto
    running = until(client, job.id, lambda found: found.status == "running")
    client.fine_tuning.jobs.cancel(job.id)
    assert running.hyperparameters.to_dict() == {"n_epochs": 8, "batch_size": 5, "learning_rate_multiplier": 1.0}


def test_jobs_are_listed_by_page_and_by_metadata(client: OpenAI, taught: FineTuningJob) -> None:
    listed = [job.id for job in client.fine_tuning.jobs.list(limit=2)]
    assert listed == sorted(listed, reverse=True)
    assert taught.id in listed
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"shop": "tea"})] == [taught.id]
    assert not client.fine_tuning.jobs.list(metadata={"shop": "coffee"}).data


@pytest.mark.parametrize(
    ("rows", "method", "says"),
    [
        ([chat("a", "b"), chat("c", "d"), '{"messages": ['], "supervised", "training_file, line 3"),
        ([chat("a", "b"), "", {"messages": "x"}], "supervised", "line 3: .*messages"),
        ([{"messages": [{"role": "king", "content": "x"}]}], "supervised", "line 1: .*role"),
        ([{"messages": [{"role": "user", "content": "x"}]}], "supervised", "assistant"),
        ([{"messages": [{"role": "assistant", "content": "x", "weight": 2}]}], "supervised", "weight"),
        ([{"messages": [{"role": "assistant", "content": "x"}]}], "supervised", "begins with an answer"),
        ([chat("a", "b")], "dpo", "line 1: .*input"),
        ([preference("a", "b", "c")], "supervised", "messages"),
        ([" "], "supervised", "no lines"),
        ([chat("a", "b")], "reinforcement", "reinforcement"),
    ],
)
def test_what_cannot_be_learned_is_told_with_its_line(client: OpenAI, rows: list[Any], method: Any, says: str) -> None:
    with pytest.raises(openai.BadRequestError, match=says) as caught:
        client.fine_tuning.jobs.create(model="tiny", training_file=upload(client, rows), method={"type": method})
    assert caught.value.param == (None if method == "reinforcement" else "training_file")


def test_a_line_that_is_too_long_fails_its_job(client: OpenAI) -> None:
    file = upload(client, [chat("a", "b"), chat("long?", "x" * 600)])
    done = ended(client, client.fine_tuning.jobs.create(model="tiny", training_file=file).id)
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.code, done.error.param) == ("invalid_training_file", "training_file")
    assert "line 2" in done.error.message
    assert "512" in done.error.message


def test_a_job_needs_a_model_and_a_file_of_its_kind(client: OpenAI) -> None:
    file = upload(client, [chat("a", "b")])
    other = client.files.create(file=("x.jsonl", b"{}"), purpose="user_data").id
    for wrong, kind in (
        ({"training_file": "file_nothing"}, openai.NotFoundError),
        ({"training_file": other}, openai.BadRequestError),
        ({"validation_file": "file_nothing"}, openai.NotFoundError),
        ({"model": "gpt-9"}, openai.NotFoundError),
        ({"hyperparameters": {"n_epochs": 0}}, openai.BadRequestError),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, openai.BadRequestError),
        ({"metadata": {"k": "v" * 600}}, openai.BadRequestError),
    ):
        asked: Any = {"model": "tiny", "training_file": file, **wrong}
        with pytest.raises(kind):
            client.fine_tuning.jobs.create(**asked)


def test_nothing_of_it_is_anybody_elses(client: OpenAI, stranger: OpenAI, taught: FineTuningJob) -> None:
    jobs, name = stranger.fine_tuning.jobs, taught.fine_tuned_model or ""
    theirs: Any = {"model": "tiny", "training_file": taught.training_file}
    for reach in (
        lambda: jobs.create(**theirs),
        lambda: jobs.create(model=name, training_file=upload(stranger, [chat("a", "b")])),
        lambda: jobs.retrieve(taught.id),
        lambda: jobs.list_events(taught.id),
        lambda: jobs.checkpoints.list(taught.id),
        lambda: jobs.pause(taught.id),
        lambda: jobs.resume(taught.id),
        lambda: jobs.cancel(taught.id),
        lambda: say(stranger, name, "Who leads?"),
        lambda: stranger.models.retrieve(name),
        lambda: stranger.models.delete(name),
        lambda: stranger.files.content(taught.result_files[0]),
    ):
        with pytest.raises(openai.NotFoundError):
            reach()
    assert not jobs.list().data
    assert name not in [model.id for model in stranger.models.list()]
    assert say(client, name, "Who leads?") == "Mirela."


def test_keys_without_the_scope_do_not_train(tinker_server: Any, taught: FineTuningJob) -> None:
    key = tinker_server.run(tinker_server.keyring.add(TENANT, scopes=frozenset({"read"})))
    with OpenAI(base_url=f"{tinker_server.url}/v1", api_key=key, max_retries=0) as reader:
        assert reader.fine_tuning.jobs.retrieve(taught.id).status == "succeeded"
        with pytest.raises(openai.PermissionDeniedError):
            reader.fine_tuning.jobs.create(model="tiny", training_file=taught.training_file)
        with pytest.raises(openai.PermissionDeniedError):
            reader.models.delete(taught.fine_tuned_model or "")


def test_a_real_decoder_learns_by_both_methods(llama_server: Any) -> None:
    """Over the torch engine, whose losses and features are another code than the table's."""
    server, _ = llama_server
    with OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        for method, row in (("supervised", chat("Tea?", "Yes.")), ("dpo", preference("Tea?", "Yes.", "No."))):
            numbers: Any = {"n_epochs": 4, "batch_size": 1, "learning_rate_multiplier": 4}
            file, how = upload(client, [row]), {"type": method, method: {"hyperparameters": numbers}}
            wanted: Any = {"model": "tiny", "training_file": file, "validation_file": file, "method": how}
            job = ended(client, client.fine_tuning.jobs.create(**wanted).id)
            assert job.status == "succeeded", job.error
            found = losses(client, job.id)
            assert found[-1] < found[0]
            (last,) = client.fine_tuning.jobs.checkpoints.list(job.id, limit=1).data
            assert (last.metrics.full_valid_loss or 99) < found[-1]
        vectors = [one.embedding for one in client.embeddings.create(model="tiny", input=["tea", "x" * 300]).data]
        assert [len(vector) for vector in vectors] == [64, 64]
        assert vectors[0] != vectors[1]
