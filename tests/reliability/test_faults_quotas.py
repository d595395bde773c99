"""A tenant whose quota is used up: the unmodified SDK hears it at once, by name, and works on when there is more."""

from typing import Any

import pytest
import tinker
from deadlines import within
from loopback import Loopback
from tinker import types

from anubhav.types.models import Scope
from anubhav.types.quotas import Quota

pytestmark = pytest.mark.tinker_sdk

MODEL, TENANT = "tiny", "thrifty"
DATUM = types.Datum(
    model_input=types.ModelInput.from_ints([5, 6, 7]),
    loss_fn_inputs={"target_tokens": [6, 7, 8], "weights": [1.0, 1.0, 1.0]},
)


def limit(house: Loopback, quota: Quota) -> None:
    house.run(house.keyring.set_quota(TENANT, quota))


def client(house: Loopback, *scopes: Scope) -> tinker.ServiceClient:
    key = house.run(house.keyring.add(TENANT, scopes=frozenset(scopes or ("train", "sample"))))
    return tinker.ServiceClient(base_url=house.url, api_key=key)


def learn(run: tinker.TrainingClient) -> Any:
    return within(lambda: run.forward_backward([DATUM], "cross_entropy").result())


def test_a_quota_of_tokens_ends_a_run_at_once_and_not_for_ever(fake_house: Loopback) -> None:
    with client(fake_house) as service:
        run = within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
        learn(run)
        limit(fake_house, Quota(tokens_a_day=1))
        with pytest.raises(tinker.PermissionDeniedError, match="tokens a day"):
            learn(run)
        sampler = within(lambda: service.create_sampling_client(base_model=MODEL).result())
        few = types.SamplingParams(max_tokens=2)
        with pytest.raises(tinker.PermissionDeniedError, match="00:00 UTC"):
            within(lambda: sampler.sample(types.ModelInput.from_ints([5]), 1, few).result())
        limit(fake_house, Quota())
        assert learn(run).metrics["loss:sum"] > 0
        assert within(lambda: run.optim_step(types.AdamParams(learning_rate=1e-3)).result())


def test_a_quota_of_runs_is_a_refusal(fake_house: Loopback) -> None:
    limit(fake_house, Quota(runs=0))
    with client(fake_house) as service, pytest.raises(tinker.PermissionDeniedError, match="quota is 0"):
        within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
    limit(fake_house, Quota())


def test_a_key_that_lacks_a_scope_is_told_which(fake_house: Loopback) -> None:
    with client(fake_house, "sample") as service:
        with pytest.raises(tinker.PermissionDeniedError, match="scope train"):
            within(lambda: service.create_lora_training_client(MODEL, rank=4).result())
        assert within(lambda: service.create_sampling_client(base_model=MODEL).result())
