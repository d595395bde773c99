"""The core loop's steps behind training: samples, records, downloads, and the end."""

import json
import tarfile
import urllib.request
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from walk import MODEL, PROMPT, WHOLE, Loop, close, done, step, tinker, types


@step("SamplingClient.sample · n")
def _(loop: Loop) -> None:
    answer = loop.sample(count=3, max_tokens=6)
    assert len(answer.sequences) == 3
    for one in answer.sequences:
        assert len(one.logprobs) == len(one.tokens) > 0
        assert all(value <= 0 for value in one.logprobs)


@step("SamplingClient.sample · seed")
def _(loop: Loop) -> None:
    first, again, other = (
        [one.tokens for one in loop.sample(count=4, max_tokens=8, stop=[], temperature=20.0, seed=seed).sequences]
        for seed in (3, 3, 4)
    )
    assert first == again != other


@step("SamplingClient.sample · stop")
def _(loop: Loop) -> None:
    (free,) = loop.sample(temperature=0.0, max_tokens=5, stop=[]).sequences
    assert (len(free.tokens), str(free.stop_reason)) == (5, "length")
    (held,) = loop.sample(temperature=0.0, max_tokens=5, stop=[free.tokens[2]]).sequences
    assert held.tokens == free.tokens[: free.tokens.index(free.tokens[2]) + 1]
    assert str(held.stop_reason) == "stop"


@step("SamplingClient.sample · prompt_logprobs")
def _(loop: Loop) -> None:
    given = loop.sample(prompt=WHOLE, include_prompt_logprobs=True).prompt_logprobs
    assert given[0] is None
    assert close(list(given[1:]), loop.scores), (given, loop.scores)


@step("SamplingClient.sample · topk_prompt_logprobs", "topk_prompt_logprobs")
def _(loop: Loop) -> None:
    given = loop.sample(prompt=WHOLE, include_prompt_logprobs=True, topk_prompt_logprobs=2).topk_prompt_logprobs
    assert [len(row or []) for row in given] == [0, 2, 2, 2]
    for (_, best), (_, second), own in ((*row, score) for row, score in zip(given[1:], loop.scores, strict=True)):
        assert 0 >= best >= second
        assert best >= own - 1e-4


@step("SamplingClient.sample · topk_sample_logprobs", "topk_sample_logprobs")
def _(loop: Loop) -> None:
    (only,) = loop.sample(max_tokens=2, temperature=0.0, stop=[], topk_sample_logprobs=3).sequences
    assert [len(row) for row in only.topk_logprobs] == [3, 3]
    assert [row[0][0] for row in only.topk_logprobs] == list(only.tokens)


@step("SamplingClient.sample · target_prompt_logprobs", "target_prompt_logprobs")
def _(loop: Loop) -> None:
    targets = types.TensorData(data=[8, 5, 9, 5, 10, -1], dtype="int64", shape=[3, 2])
    answer = loop.sample(prompt=WHOLE, include_prompt_logprobs=True, target_prompt_logprobs=targets)
    given = answer.target_prompt_logprobs.tolist()
    assert close([row[0] for row in given], list(answer.prompt_logprobs[1:]))
    assert given[2][1] == 0.0


@step("SamplingClient.sample · prompt_alt_tokens_k", "prompt_alt_tokens_k")
def _(loop: Loop) -> None:
    drawn = loop.sample(prompt=WHOLE, prompt_alt_tokens_k=2).prompt_alt_tokens
    assert list(drawn.tokens.shape) == [3, 2]


@step("SamplingClient.sample · prompt_logprobs_last_n", "prompt_logprobs_last_n")
def _(loop: Loop) -> None:
    given = loop.sample(prompt=WHOLE, include_prompt_logprobs=True, prompt_logprobs_last_n=2).prompt_logprobs
    assert [value is None for value in given] == [True, True, False, False], given


@step("SamplingClient.sample · two at once")
def _(loop: Loop) -> None:
    """Identical prompts in flight together are two requests."""
    params = types.SamplingParams(max_tokens=8, stop=[], temperature=20.0)
    pair = [loop.sampler.sample(PROMPT, 1, params) for _ in range(2)]
    first, second = (done(one).sequences[0].tokens for one in pair)
    assert first != second


@step("SamplingClient.compute_logprobs")
def _(loop: Loop) -> None:
    scores = done(loop.sampler.compute_logprobs(WHOLE))
    assert scores[0] is None
    assert close(list(scores[1:]), loop.scores)


@step("SamplingClient.get_base_model")
def _(loop: Loop) -> None:
    assert loop.sampler.get_base_model() == MODEL


@step("SamplingClient.get_tokenizer")
def _(loop: Loop) -> None:
    tokenizer = loop.sampler.get_tokenizer()
    assert tokenizer.decode(tokenizer.encode("hello")) == "hello"


@step("SamplingClient.get_sampler_handle")
def _(loop: Loop) -> None:
    assert loop.sampler.get_sampler_handle()


@step("SamplingClient.from_sampler_handle")
def _(loop: Loop) -> None:
    again = tinker.SamplingClient.from_sampler_handle(loop.sampler.get_sampler_handle())
    assert close(list(done(again.compute_logprobs(WHOLE))[1:]), loop.scores)


@step("RestClient.get_training_run")
def _(loop: Loop) -> None:
    run = done(loop.rest.get_training_run(loop.run()))
    assert (run.base_model, run.lora_rank, run.is_lora) == (MODEL, 4, True)


@step("RestClient.get_training_run_by_tinker_path")
def _(loop: Loop) -> None:
    assert done(loop.rest.get_training_run_by_tinker_path(loop.saved)).training_run_id == loop.run()


@step("RestClient.get_weights_info_by_tinker_path")
def _(loop: Loop) -> None:
    found = done(loop.rest.get_weights_info_by_tinker_path(loop.saved))
    assert (found.base_model, found.lora_rank) == (MODEL, 4)


@step("RestClient.list_training_runs")
def _(loop: Loop) -> None:
    assert loop.run() in {one.training_run_id for one in done(loop.rest.list_training_runs(limit=100)).training_runs}


@step("RestClient.list_checkpoints")
def _(loop: Loop) -> None:
    assert {"weights/halfway", "sampler_weights/served"} <= loop.names()


@step("RestClient.list_user_checkpoints")
def _(loop: Loop) -> None:
    assert loop.saved in {one.tinker_path for one in done(loop.rest.list_user_checkpoints(limit=500)).checkpoints}


def listed(loop: Loop, path: str) -> Any:
    return next(one for one in done(loop.rest.list_checkpoints(loop.run())).checkpoints if one.tinker_path == path)


@step("RestClient.publish_checkpoint_from_tinker_path")
def _(loop: Loop) -> None:
    done(loop.rest.publish_checkpoint_from_tinker_path(loop.saved))
    assert listed(loop, loop.saved).public is True


@step("RestClient.unpublish_checkpoint_from_tinker_path")
def _(loop: Loop) -> None:
    done(loop.rest.unpublish_checkpoint_from_tinker_path(loop.saved))
    assert listed(loop, loop.saved).public is False


@step("RestClient.set_checkpoint_ttl_from_tinker_path")
def _(loop: Loop) -> None:
    done(loop.rest.set_checkpoint_ttl_from_tinker_path(loop.saved, 7200))
    left = listed(loop, loop.saved).expires_at - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    done(loop.rest.set_checkpoint_ttl_from_tinker_path(loop.saved, None))
    assert listed(loop, loop.saved).expires_at is None


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def check_archive(url: str) -> None:
    with tarfile.open(fileobj=BytesIO(fetch(url)), mode="r:gz") as archive:
        assert {"adapter_model.safetensors", "adapter_config.json"} <= set(archive.getnames())


@step("RestClient.get_checkpoint_archive_url")
def _(loop: Loop) -> None:
    check_archive(done(loop.rest.get_checkpoint_archive_url(loop.run(), "weights/halfway")).url)


@step("RestClient.get_checkpoint_archive_url_from_tinker_path")
def _(loop: Loop) -> None:
    check_archive(done(loop.rest.get_checkpoint_archive_url_from_tinker_path(loop.served)).url)


@step("TrainingClient.save_weights_external")
def _(loop: Loop) -> None:
    loop.external = done(loop.trainer.save_weights_external("out", ttl_seconds=3600)).path
    assert loop.external == f"tinker://{loop.run()}/external_weights/out"


@step("RestClient.get_external_weights_urls")
def _(loop: Loop) -> None:
    urls = done(loop.rest.get_external_weights_urls(loop.external)).urls
    assert json.loads(fetch(urls["adapter_config.json"]))["r"] == 4
    assert fetch(urls["adapter_model.safetensors"])


@step("RestClient.copy_weights")
def _(loop: Loop) -> None:
    path = done(loop.rest.copy_weights(loop.saved, "a-project"))
    assert path != loop.saved
    assert path.endswith("/weights/halfway")


@step("ServiceClient.copy_weights")
def _(loop: Loop) -> None:
    path = done(loop.service.copy_weights(loop.saved))
    assert path != loop.saved
    assert path.endswith("/weights/halfway")


@step("mint.interpolate_checkpoints")
def _(loop: Loop) -> None:
    other = done(loop.trainer.save_weights_for_sampler("other")).path
    blend = tinker.mint.interpolate_checkpoints(
        loop.service, source_paths=[loop.served, other], coefficients=[0.5, 0.5], output_path="blend"
    )
    assert close(
        list(done(done(loop.service.create_sampling_client(blend.path)).compute_logprobs(WHOLE))[1:]), loop.scores
    )


@step("mint.forward_backward_reverse_kl")
def _(loop: Loop) -> None:
    length = 4
    datum = tinker.mint.ReverseKLDatum(
        student_input=WHOLE,
        reference_input=WHOLE,
        target_tokens=types.TensorData(data=[8, 9, 10, 11], dtype="int64", shape=[length]),
        weights=types.TensorData(data=[1.0] * length, dtype="float32", shape=[length]),
    )
    fresh = done(loop.service.create_lora_training_client(MODEL, rank=4))
    answer = tinker.mint.forward_backward_reverse_kl(fresh, reference_model_path=loop.served, data=[datum], seq_id=1)
    assert len(answer.outputs) == 1


@step("RestClient.delete_checkpoint")
def _(loop: Loop) -> None:
    done(loop.rest.delete_checkpoint(loop.run(), "sampler_weights/served"))
    assert "sampler_weights/served" not in loop.names()


@step("RestClient.delete_checkpoint_from_tinker_path")
def _(loop: Loop) -> None:
    done(loop.rest.delete_checkpoint_from_tinker_path(loop.saved))
    assert "weights/halfway" not in loop.names()


@step("RestClient.get_session")
def _(loop: Loop) -> None:
    assert loop.run() in done(loop.rest.get_session(loop.session())).training_run_ids


@step("RestClient.list_sessions")
def _(loop: Loop) -> None:
    assert loop.session() in done(loop.rest.list_sessions(limit=100)).sessions


@step("RestClient.get_sampler")
def _(loop: Loop) -> None:
    sampler = done(loop.rest.get_session(loop.session())).sampler_ids[0]
    assert done(loop.rest.get_sampler(sampler)).base_model == MODEL


@step("RestClient.assign_session_project")
def _(loop: Loop) -> None:
    done(loop.rest.assign_session_project(loop.session(), "a-project"))


@step("RestClient.search_sessions")
def _(loop: Loop) -> None:
    found = done(loop.rest.search_sessions(types.SessionSearchRequest(session_id=loop.session()))).sessions
    assert [(one.session_id, one.project_id) for one in found] == [(loop.session(), "a-project")]


@step("RestClient.export_session_trace")
def _(loop: Loop) -> None:
    assert json.loads(fetch(done(loop.rest.export_session_trace(loop.session()))))["traceEvents"]


@step("RestClient.get_audit_log")
def _(loop: Loop) -> None:
    assert done(loop.rest.get_audit_log()).entries


@step("RestClient.get_billing_usage")
def _(loop: Loop) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    assert done(loop.rest.get_billing_usage(hour - timedelta(hours=1), hour + timedelta(hours=1))).data


@step("RestClient.get_current_checkpoint_storage_usage")
def _(loop: Loop) -> None:
    assert done(loop.rest.get_current_checkpoint_storage_usage()).data


@step("ServiceClient.close")
def _(loop: Loop) -> None:
    done(loop.service.close("success"))
