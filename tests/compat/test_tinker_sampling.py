"""Everything the unmodified Tinker SDK can ask of sampling, and what happens to it when things go wrong."""

import asyncio
import math
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import tinker
import torch
from lessons_for_tinker import MODEL, ONE, PROMPT, TOKENS, teach
from tinker import types

from anubhav.serving.recall import recall

pytestmark = pytest.mark.tinker_sdk


@pytest.fixture
def service(tinker_server: Any) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=tinker_server.url, api_key=tinker_server.key) as client:
        yield client


@pytest.fixture
def base(service: tinker.ServiceClient) -> tinker.SamplingClient:
    return service.create_sampling_client(base_model=MODEL).result()


@pytest.fixture
def trainer(service: tinker.ServiceClient) -> tinker.TrainingClient:
    return service.create_lora_training_client(MODEL, rank=4, seed=1).result()


def matrix(base: tinker.SamplingClient) -> torch.Tensor:
    """The log-probability of every token at every position of the prompt, found one position at a time."""
    greedy = types.SamplingParams(max_tokens=1, temperature=0.0)
    rows: list[dict[int, float]] = []
    for end in range(1, len(TOKENS)):
        prefix = types.ModelInput.from_ints(TOKENS[:end])
        answer = base.sample(prefix, 1, greedy, topk_sample_logprobs=100).result()
        found = answer.sequences[0].topk_logprobs
        assert found is not None
        assert found[0] is not None
        rows.append(dict(found[0]))
    dense = torch.full((len(TOKENS) - 1, 258), math.nan)
    for place, row in enumerate(rows):
        dense[place, list(row)] = torch.tensor(list(row.values()))
    return dense


def test_the_end_of_a_prompt_can_be_scored_alone(base: tinker.SamplingClient) -> None:
    whole = base.compute_logprobs(PROMPT).result()
    assert len(whole) == len(TOKENS)
    for last in (1, 3, len(TOKENS) - 1):
        part = base.compute_logprobs(PROMPT, prompt_logprobs_last_n=last).result()
        assert part[:-last] == [None] * (len(TOKENS) - last)
        assert part[-last:] == whole[-last:]
    found = base.sample(
        PROMPT, 1, ONE, include_prompt_logprobs=True, topk_prompt_logprobs=2, prompt_logprobs_last_n=2
    ).result()
    assert found.topk_prompt_logprobs is not None
    assert [len(row or ()) for row in found.topk_prompt_logprobs] == [0] * 6 + [2, 2]
    with pytest.raises(tinker.BadRequestError, match="last_n"):
        base.compute_logprobs(PROMPT, prompt_logprobs_last_n=len(TOKENS)).result()


def test_chosen_tokens_are_scored_in_the_layout_of_the_request(base: tinker.SamplingClient) -> None:
    truth = matrix(base)
    wanted = torch.full((len(TOKENS) - 1, 12), -1, dtype=torch.int64)
    likely = truth.nan_to_num(-math.inf).argsort(descending=True)
    wanted[2, 5], wanted[2, 0], wanted[6, 11] = likely[2, 3], likely[2, 7], likely[6, 0]
    dense = types.TensorData.from_torch(wanted)
    sparse = types.TensorData.from_torch_sparse(wanted, pad_value=-1)
    assert sparse.sparse_crow_indices is not None
    answers = [base.sample(PROMPT, 1, ONE, target_prompt_logprobs=one).result() for one in (dense, sparse)]
    assert answers[0].prompt_logprobs is None
    for answer in answers:
        scored = answer.target_prompt_logprobs
        assert scored is not None
        found = scored.to_torch()
        assert found.shape == wanted.shape
        assert torch.equal(found == 0, wanted == -1)
        for row, column in ((2, 5), (2, 0), (6, 11)):
            assert float(found[row, column]) == pytest.approx(float(truth[row, wanted[row, column]]), abs=1e-5)
    back = answers[1].target_prompt_logprobs
    assert back is not None
    assert back.sparse_crow_indices is not None
    assert list(back.sparse_crow_indices) == list(sparse.sparse_crow_indices)
    assert list(back.sparse_col_indices or ()) == list(sparse.sparse_col_indices or ())
    together = base.sample(PROMPT, 1, ONE, include_prompt_logprobs=True, target_prompt_logprobs=dense).result()
    assert together.prompt_logprobs == base.compute_logprobs(PROMPT).result()


@pytest.mark.parametrize(
    "tensor",
    [torch.full((7, 2), -1), torch.full((6, 2), 3), torch.full((7, 1), 258), torch.full((7, 1), -2)],
    ids=["nothing", "rows", "vocabulary", "negative"],
)
def test_targets_that_cannot_be_scored_are_refused_at_once(base: tinker.SamplingClient, tensor: torch.Tensor) -> None:
    start = time.monotonic()
    with pytest.raises(tinker.BadRequestError, match="target_prompt_logprobs"):
        base.sample(PROMPT, 1, ONE, target_prompt_logprobs=types.TensorData.from_torch(tensor)).result()
    assert time.monotonic() - start < 2


def test_alternatives_are_drawn_along_the_prompt(base: tinker.SamplingClient) -> None:
    def draw(k: int, **params: Any) -> tuple[torch.Tensor, torch.Tensor]:
        asked = types.SamplingParams(max_tokens=1, **params)
        found = base.sample(PROMPT, 1, asked, prompt_alt_tokens_k=k).result().prompt_alt_tokens
        assert found is not None
        return found.tokens.to_torch(), found.logprobs.to_torch()

    truth = matrix(base)
    tokens, logprobs = draw(400, seed=5, temperature=0.3)
    assert tokens.shape == logprobs.shape == (len(TOKENS) - 1, 400)
    assert torch.equal(draw(400, seed=5, temperature=0.3)[0], tokens)
    assert not torch.equal(draw(400, seed=6, temperature=0.3)[0], tokens)
    assert not torch.equal(tokens[:, :200], tokens[:, 200:]), "draws of one position must be independent"
    known = truth.gather(1, tokens)
    listed = ~known.isnan()
    assert torch.allclose(logprobs[listed], known[listed], atol=1e-5)
    # At temperature 0.3 the distribution is p^(1/0.3); the fake's is flat enough for every likely token to come.
    scaled = (truth.nan_to_num(-50.0) / 0.3).softmax(-1)
    for place in range(len(TOKENS) - 1):
        token = int(scaled[place].argmax())
        share, wanted = float((tokens[place] == token).float().mean()), float(scaled[place, token])
        assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 400) + 0.02
    greedy, _ = draw(3, temperature=0.0)
    assert greedy.tolist() == [[int(row.nan_to_num(-math.inf).argmax())] * 3 for row in truth]


def test_seeds(base: tinker.SamplingClient) -> None:
    def draw(seed: int | None, n: int = 3) -> list[list[int]]:
        answer = base.sample(PROMPT, n, types.SamplingParams(max_tokens=12, seed=seed)).result()
        return [one.tokens for one in answer.sequences]

    first = draw(5)
    assert len({tuple(one) for one in first}) == 3
    assert draw(5) == first
    assert draw(6) != first
    assert draw(None) != draw(None)


def test_a_prompt_is_its_own_no_cache_is_claimed(base: tinker.SamplingClient) -> None:
    assert [base.sample(PROMPT, 2, ONE).result().prompt_cache_hit_tokens for _ in range(2)] == [0, 0]


def test_every_stop_rule(trainer: tinker.TrainingClient) -> None:
    # The fake model's tokenizer: 0 and 1 frame turns, and 2 … are the byte characters in sorted order.
    teach(trainer)  # after 7 come 8, 9 and 10
    sampler = trainer.save_weights_and_get_sampling_client().result()
    tokenizer = trainer.get_tokenizer()
    text = [tokenizer.decode([token]) for token in (8, 9, 10)]

    def ask(stop: Any, max_tokens: int | None = 6) -> tuple[list[int], str]:
        params = types.SamplingParams(max_tokens=max_tokens, temperature=0.0, stop=stop)
        [one] = sampler.sample(types.ModelInput.from_ints([7]), 1, params).result().sequences
        assert len(one.logprobs or ()) == len(one.tokens)
        return one.tokens, one.stop_reason

    assert ask([9]) == ([8, 9], "stop")
    assert ask(text[1]) == ([8, 9], "stop")
    assert ask([text[1] + text[2], "never"]) == ([8, 9, 10], "stop")
    free, reason = ask([])
    assert (free[:3], len(free), reason) == ([8, 9, 10], 6, "length")
    long, reason = ask([], max_tokens=None)
    assert (len(long), reason) == (512 - 1, "length")


def test_the_end_of_turn_stops_unless_it_is_told_not_to(trainer: tinker.TrainingClient) -> None:
    ended = types.Datum(
        model_input=types.ModelInput.from_ints([7, 8]), loss_fn_inputs={"target_tokens": [8, 1], "weights": [1.0, 1.0]}
    )
    for _ in range(20):
        trainer.forward_backward([ended], "cross_entropy").result()
        trainer.optim_step(types.AdamParams(learning_rate=0.3)).result()
    sampler = trainer.save_weights_and_get_sampling_client().result()

    def ask(stop: Any) -> tuple[list[int], str]:
        params = types.SamplingParams(max_tokens=5, temperature=0.0, stop=stop)
        [one] = sampler.sample(types.ModelInput.from_ints([7]), 1, params).result().sequences
        return one.tokens, one.stop_reason

    assert ask(None) == ([8, 1], "stop")
    assert ask(["<|im_end|>"]) == ([8, 1], "stop")
    for stop in ([], [200], ["\u00fe"]):
        tokens, reason = ask(stop)
        assert tokens[:2] == [8, 1]
        assert (len(tokens), reason) == (5, "length")


def test_recorded_samples_are_found_by_their_sequence_ids(tinker_server: Any, trainer: tinker.TrainingClient) -> None:
    silent = trainer.save_weights_and_get_sampling_client().result()
    sampler = trainer.save_weights_and_get_sampling_client(record_stability_info=True).result()
    params = types.SamplingParams(max_tokens=6, seed=2)
    kept = sampler.sample(PROMPT, 3, params).result().sequences
    unkept = silent.sample(PROMPT, 1, params).result().sequences[0]

    def find(sequence: str, tenant: str = "local") -> Any:
        database = tinker_server.house.recorder._database
        return asyncio.run_coroutine_threadsafe(recall(database, tenant, sequence), tinker_server.loop).result()

    for one in kept:
        found = find(one.sequence_id)
        assert list(found.tokens) == one.tokens
        assert list(found.logprobs) == one.logprobs
        assert find(one.sequence_id, "eve") is None
    assert find(unkept.sequence_id) is None


def test_inflight_clients_move_to_the_newest_weights(
    service: tinker.ServiceClient, trainer: tinker.TrainingClient
) -> None:
    def says(sampler: tinker.SamplingClient) -> list[int]:
        greedy = types.SamplingParams(max_tokens=3, temperature=0.0)
        return sampler.sample(types.ModelInput.from_ints([7]), 1, greedy).result().sequences[0].tokens

    first = trainer.save_weights_and_get_sampling_client(kind="inflight").result()
    fixed = trainer.save_weights_and_get_sampling_client().result()
    before = says(first)
    assert before == says(fixed) != [8, 9, 10]
    teach(trainer)
    second = trainer.save_weights_and_get_sampling_client(kind="inflight").result()
    assert [says(second), says(first), says(fixed)] == [[8, 9, 10], [8, 9, 10], before]
    assert len({one._sampling_session_id for one in (first, second, fixed)}) == 3
    stranger = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    other = stranger.save_weights_and_get_sampling_client(kind="inflight").result()
    assert [says(other), says(first)] == [before, [8, 9, 10]]


def test_the_wire_without_the_sdk(tinker_server: Any, base: tinker.SamplingClient) -> None:
    """Answers in JSON as older SDKs read them, and requests that no SDK sends."""
    session = base._sampling_session_id

    def post(path: str, body: dict[str, Any], key: str = tinker_server.key) -> httpx2.Response:
        return httpx2.post(f"{tinker_server.url}/api/v1/{path}", json=body, headers={"x-api-key": key}, timeout=40)

    def ask(number: int, **changes: Any) -> httpx2.Response:
        body = {"prompt": {"chunks": [{"tokens": TOKENS}]}, "sampling_params": {"max_tokens": 1, "temperature": 0.0}}
        return post("asample", {**body, "sampling_session_id": session, "seq_id": 10**9 * 7 + number, **changes})

    sparse = {"data": [9, -1], "dtype": "int64", "shape": [7, 2], "sparse_col_indices": [1, 0]}
    good = sparse | {"sparse_crow_indices": [0, 0, 1, 1, 2, 2, 2, 2]}
    promise = ask(0, target_prompt_logprobs=good, prompt_alt_tokens_k=2).json()["request_id"]
    found = post("retrieve_future", {"request_id": promise}).json()
    assert found["target_prompt_logprobs"]["sparse_col_indices"] == [1, 0]
    assert found["target_prompt_logprobs"]["data"][0] < 0
    assert found["target_prompt_logprobs"]["data"][1] == 0
    assert found["prompt_alt_tokens"]["tokens"]["shape"] == [7, 2]
    assert found["prompt_logprobs"] is None
    refused = [
        ask(1, target_prompt_logprobs=good | {"sparse_crow_indices": [0, 2, 1, 1, 2, 2, 2, 2]}),
        ask(2, target_prompt_logprobs=good | {"sparse_crow_indices": [0, 2]}),
        ask(3, target_prompt_logprobs=good | {"sparse_col_indices": [2, 0]}),
        ask(4, target_prompt_logprobs=sparse),
        ask(5, target_prompt_logprobs={"data": [1, 2], "dtype": "int64", "shape": [7, 2]}),
        ask(6, target_prompt_logprobs={"data": [1.0], "dtype": "int64", "shape": [7, 1]}),
        ask(7, target_prompt_logprobs={"data": [1], "dtype": "float32", "shape": [1, 1]}),
        ask(8, prompt_alt_tokens_k=-1),
        ask(9, prompt_logprobs_last_n=1),
    ]
    assert [answer.status_code for answer in refused] == [400] * len(refused)
    stranger = tinker_server.add_key("stranger")
    target = {"sampling_session_id": session, "cloned_sampler_id": 7}
    assert post("join_sampling_session", {"sampling_session_id": session}, stranger).status_code == 404
    assert post("retrieve_futures", {"target": target, "timeout": 0}, stranger).status_code == 404
    told = post("retrieve_futures", {"target": target, "timeout": 0}).json()
    assert told["completions"] == [{"state": "finished", "request_id": promise}]
    acknowledged = {"target": target, "prev_cursor": told["cursor"], "timeout": 0, "retrieved_request_ids": [promise]}
    assert post("retrieve_futures", acknowledged).json() == {"completions": [], "cursor": told["cursor"]}
    assert post("retrieve_future", {"request_id": promise}).status_code == 410
