"""Every loss against plain autograd through transformers and PEFT: value, log-probabilities and LoRA gradients.

The data fill several micro-batches, and each of those several chunks of the head, so that both cut through data.
"""

import math
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
    """Of one datum; with masks, that of its other positions."""
    v = {name: torch.tensor(array.tolist()).reshape(array.shape) for name, array in datum.inputs.items()}
    v, lp = unmasked(lp, v, config, v["sequence_ratio_mask"] if loss == "gspo" else v["advantages"])
    return value(loss, lp, v, config) if len(lp) else lp.sum()


def value(loss: str, lp: Tensor, v: Mapping[str, Tensor], config: Mapping[str, float]) -> Tensor:
    a, away = v["advantages"], lp - v["logprobs"]
    low, high = (v.get(f"clip_{side}_threshold", config.get(f"clip_{side}_threshold")) for side in ("low", "high"))
    r = away.exp()
    if loss == "cross_entropy":
        found = -v["weights"] * lp
    elif loss == "importance_sampling":
        found = -r * a
    elif loss == "dro":
        found = 0.5 * config["beta"] * away**2 - lp * a
    elif loss == "cispo":
        if "sequence_clip_high_threshold" in config:
            r = away[a != 0].sum().exp()
            low, high = config.get("sequence_clip_low_threshold", 0.0), config["sequence_clip_high_threshold"]
        found = -torch.clamp(r, low, high).detach() * lp * a
    elif loss == "stable_reinforce":
        found = 0.5 * config["kl_coeff"] * away**2 * (a != 0) - torch.clamp(r, max=2).detach() * lp * a
    else:
        if loss == "gspo":
            mean = away.detach()[v["sequence_ratio_mask"] != 0].mean()
            r = torch.exp(mean + lp - lp.detach())
        found = -torch.minimum(r * a, torch.clamp(r, low, high) * a)
    return found.sum()


def unmasked(
    lp: Tensor, v: dict[str, Tensor], config: Mapping[str, float], counts: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """What no mask takes away."""
    away = lp.detach() - v["logprobs"]
    counted = away[counts != 0]
    ratios = {"mask": away.exp(), "sequence_mask": counted.sum().exp(), "geometric_mask": counted.mean().exp()}
    keep = torch.ones_like(away, dtype=torch.bool)
    for name, ratio in ratios.items():
        low, high = config.get(f"{name}_low_threshold", 0.0), config.get(f"{name}_high_threshold", math.inf)
        keep &= (ratio >= low) & (ratio <= high)
    return {name: values[keep] for name, values in v.items()}, lp[keep]


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
TOKENS = {"mask_low_threshold": 0.5, "mask_high_threshold": 2.0}
MEAN = {"geometric_mask_low_threshold": 0.75, "geometric_mask_high_threshold": 1.3}
WHOLE = {"sequence_mask_low_threshold": 1e-20, "sequence_mask_high_threshold": 1e20}
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
    ("importance_sampling", 1, TOKENS),
    ("importance_sampling", 2, TOKENS),
    ("ppo", 1, {**CLIPS, **MEAN}),
    ("dro", 1, {"beta": 0.3, **TOKENS, **MEAN}),
    ("gspo", 1, {**CLIPS, **TOKENS, **MEAN}),
    ("stable_reinforce", 1, {"kl_coeff": 0.2, **WHOLE}),
    ("cispo", 1, {**CLIPS, **WHOLE}),
    ("cispo", 1, {"sequence_clip_low_threshold": 0.1, "sequence_clip_high_threshold": 3.0}),
    ("cispo", 1, {"sequence_clip_high_threshold": 5.0, **TOKENS}),
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
