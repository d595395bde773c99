"""The unmodified SDK over a mixture of experts: metrics of load, and replay of the sampler's choices by provenance."""

from collections.abc import Iterator

import pytest
import tinker
from fake_model import write_model
from loopback import hosted
from test_tinker_losses import MODEL, flat, sampled
from tinker import types
from tiny_mixture import write_mixture

from anubhav.backends.torch.models.mixture import Mixture
from anubhav.types.training import ROUTES

pytestmark = [
    pytest.mark.tinker_sdk,
]
LOADS = {
    "e_frac_with_tokens:mean", "e_frac_oversubscribed:mean", "e_max_violation:mean", "e_max_violation:max",
    "e_min_violation:mean",
}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tinker.ServiceClient]:
    folder = tmp_path_factory.mktemp("mixture")
    write_model(folder / "tiny")
    write_mixture(folder / "tiny", vocab=258, context=512)
    with hosted(folder) as server, tinker.ServiceClient(base_url=server.url, api_key=server.key) as client:
        yield client


def test_loads_are_told(service: tinker.ServiceClient) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    tokens = list(range(40, 80))
    inputs = {"target_tokens": tokens[1:], "weights": [1.0] * 39}
    datum = types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)
    metrics = trainer.forward_backward([datum], "cross_entropy").result().metrics
    assert metrics.keys() >= LOADS
    assert 0 < metrics["e_frac_with_tokens:mean"] <= 1
    assert trainer.optim_step(types.AdamParams(learning_rate=0.01)).result().metrics["grad_norm"] > 0
    inputs[ROUTES] = types.TensorData(data=[0, 1] * 78, dtype="int64", shape=[39, 2, 2])
    here = types.Datum(model_input=types.ModelInput.from_ints(tokens[:-1]), loss_fn_inputs=inputs)
    forced = trainer.forward([here], "cross_entropy").result().metrics
    assert forced["e_frac_with_tokens:mean"] == pytest.approx(2 / 6), "a client may send its own choices too"


def test_choices_are_replayed_by_provenance(service: tinker.ServiceClient, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = service.create_lora_training_client(MODEL, rank=4, seed=1).result()
    sampler = trainer.save_weights_and_get_sampling_client(record_stability_info=True).result()
    prompt, params = list(range(60, 90)), types.SamplingParams(max_tokens=4, seed=3, stop=[])
    said = sampler.sample(types.ModelInput.from_ints(prompt), 2, params).result().sequences
    data = [sampled(one, prompt, known=False) for one in said]
    blind = [types.Datum(one.model_input, {**one.loss_fn_inputs, "logprobs": [0.0] * 33}) for one in data]

    def ask(asked: list[types.Datum]) -> tuple[list[float], dict[str, float]]:
        result = trainer.forward(asked, "importance_sampling").result()
        return flat(result), {name: value for name, value in result.metrics.items() if name in LOADS}

    before, loads = ask(data)
    assert ask(blind) == (pytest.approx(before, abs=1e-4), pytest.approx(loads))
    # What rounding may do to a few tokens, done to all of them: from now on the trainer's own choice is another.
    monkeypatch.setattr(Mixture, "_choose", lambda self, scores: scores.topk(self.shape.each, largest=False)[1])
    assert ask(blind)[0] != pytest.approx(before, abs=0.1)
    assert ask(data) == (pytest.approx(before, abs=1e-4), pytest.approx(loads))
    moved = types.ModelInput.from_ints([*prompt, 0, 0, 0])
    wrong = [types.Datum(moved, one.loss_fn_inputs, one.model_input_spans, one.loss_fn_input_spans) for one in data]
    with pytest.raises(tinker.BadRequestError, match="tokens that are not those"):
        ask(wrong)
