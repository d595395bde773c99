"""Every loss against plain autograd through transformers and PEFT: value, log-probabilities and LoRA gradients.

The data fill several micro-batches, and each of those several chunks of the head, so that both cut through data.
"""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import named_tensors
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, Pass

RUN = AdapterId("run")
SPEC = LoraSpec(rank=4, seed=1)
SHIFTS = (-1.0, -0.2, 0.0, 0.2, 1.0)
"""How far the sampling policy is away on the whole, datum by datum."""


def some_data(loss: str, k: int, *, thresholds: bool) -> tuple[Datum, ...]:
    rng = random.Random(loss)
    data: list[Datum] = []
    for shift in SHIFTS:
        length = rng.randint(170, 200)
        shape, count = ((length,) if k == 1 else (length, k)), length * k

        def draw(low: float, high: float, count: int = count) -> list[float]:
            return [rng.uniform(low, high) for _ in range(count)]

        columns = {
            "weights": [rng.choice([0, 1, -0.5, 2]) for _ in range(count)],
            "advantages": [rng.choice([0, 1, -0.5, 2]) for _ in range(count)],
            "logprobs": [value + shift for value in draw(-7.2, -4.2)],
            "sequence_ratio_mask": [rng.choice([0, 1]) for _ in range(count)],
        }
        if thresholds and shift <= 0:
            columns |= {"clip_low_threshold": draw(0.2, 0.9), "clip_high_threshold": draw(1.1, 3)}
        arrays = {name: floats(values, shape) for name, values in columns.items()}
        targets = ints([rng.randrange(300) for _ in range(count)], shape)
        data.append(Datum(tuple(rng.randrange(300) for _ in range(length)), {"target_tokens": targets, **arrays}))
    return tuple(data)


def reference(loss: str, lp: Tensor, datum: Datum, config: Mapping[str, float]) -> Tensor:
    v = {name: torch.tensor(array.tolist()).reshape(array.shape) for name, array in datum.inputs.items()}
    a, q = v["advantages"], v["logprobs"]
    low, high = (v.get(f"clip_{side}_threshold", config.get(f"clip_{side}_threshold")) for side in ("low", "high"))
    r = (lp - q).exp()
    if loss == "cross_entropy":
        return -(v["weights"] * lp).sum()
    if loss == "importance_sampling":
        return -(r * a).sum()
    if loss == "dro":
        return -(lp * a - 0.5 * config["beta"] * (lp - q) ** 2).sum()
    if loss == "cispo":
        return -(torch.clamp(r, low, high).detach() * lp * a).sum()
    if loss == "stable_reinforce":
        held = 0.5 * config["kl_coeff"] * ((lp - q) ** 2)[a != 0]
        return held.sum() - (torch.clamp(r, max=2).detach() * lp * a).sum()
    if loss == "gspo":
        mean = (lp.detach() - q)[v["sequence_ratio_mask"] != 0].mean()
        r = torch.exp(mean + lp - lp.detach())
    return -torch.minimum(r * a, torch.clamp(r, low, high) * a).sum()


async def disturb(engine: TorchEngine) -> None:
    """Create RUN with B ≠ 0, so that both factors have a gradient."""
    await engine.trainer.create(RUN, SPEC)

    def fill() -> None:
        torch.manual_seed(3)
        for pair in engine.training.pupil(RUN).adapter.pairs.values():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            with torch.no_grad():
                pair.b_OR.copy_(torch.randn_like(pair.b_OR) * 0.05 * blocks)

    await engine.call(fill)


CLIPS = {"clip_low_threshold": 0.7, "clip_high_threshold": 1.5}
CASES = [
    ("cross_entropy", 1, {}),
    ("cross_entropy", 3, {}),
    ("cross_entropy", 20, {}),
    ("importance_sampling", 1, {}),
    ("importance_sampling", 2, {}),
    ("ppo", 1, CLIPS),
    ("ppo", 3, CLIPS),
    ("cispo", 1, CLIPS),
    ("cispo", 2, CLIPS),
    ("dro", 1, {"beta": 0.3}),
    ("dro", 2, {"beta": 0.3}),
    ("gspo", 1, CLIPS),
    ("stable_reinforce", 1, {"kl_coeff": 0.2}),
    ("stable_reinforce", 2, {"kl_coeff": 0.0}),
]


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing`")
@pytest.mark.parametrize(("loss", "k", "config"), CASES)
async def test_matches_autograd(
    engine: TorchEngine, tiny_llama: Path, tmp_path: Path, loss: str, k: int, config: dict[str, float]
) -> None:
    await disturb(engine)
    data = some_data(loss, k, thresholds=config is CLIPS)
    (result,) = await engine.trainer.run([Pass(RUN, data, loss, config)])
    assert result.failure is None
    (looked,) = await engine.trainer.run([Pass(RUN, data, loss, config, backward=False)])
    assert looked.metrics["loss:sum"] == pytest.approx(result.metrics["loss:sum"], rel=1e-5)
    await engine.trainer.save(RUN, tmp_path, optimizer=False)

    base = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(tmp_path), is_trainable=True)
    total = torch.zeros(())
    for datum, ours in zip(data, result.logprobs, strict=True):
        targets = torch.tensor(datum.inputs["target_tokens"].tolist()).reshape(len(datum.tokens), k)
        lp = theirs(torch.tensor([datum.tokens])).logits[0].log_softmax(-1).gather(-1, targets).reshape(ours.shape)
        torch.testing.assert_close(torch.tensor(ours.tolist()).reshape(ours.shape), lp.detach(), atol=2e-5, rtol=0)
        total = total + reference(loss, lp, datum, config)
    total.backward()
    assert result.metrics["loss:sum"] == pytest.approx(float(total.detach()), rel=1e-4)
    pupil = engine.training.pupil(RUN)
    ours = dict(named_tensors(engine.model.config, pupil.adapter, pupil.gradient.tensors))
    expected = {name.replace(".default", ""): p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    assert expected.keys() == ours.keys()
    off = sum(float((ours[name] - grad).pow(2).sum()) for name, grad in expected.items() if grad is not None)
    size = sum(float(grad.pow(2).sum()) for grad in expected.values() if grad is not None)
    assert (off / size) ** 0.5 < 1e-4


async def test_a_datums_ratio_does_not_depend_on_its_companions(engine: TorchEngine) -> None:
    await disturb(engine)
    data = some_data("gspo", 1, thresholds=False)
    apart = [Pass(RUN, (datum,), "gspo", CLIPS, backward=False) for datum in data]
    (together,) = await engine.trainer.run([Pass(RUN, data, "gspo", CLIPS, backward=False)])
    total = sum(result.metrics["loss:sum"] for result in await engine.trainer.run(apart))
    assert together.metrics["loss:sum"] == pytest.approx(total, rel=1e-5)
