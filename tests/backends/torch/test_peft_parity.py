"""The engine against transformers + PEFT: the same log-probabilities, loss, LoRA gradients, and files."""

import random
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import named_tensors
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass

RUN = AdapterId("run")


def some_data(seed: int) -> tuple[Datum, ...]:
    """Sequences that share a long prefix, that repeat or extend one another, and that share nothing."""
    rng = random.Random(seed)

    def draw(count: int) -> list[int]:
        return [rng.randrange(300) for _ in range(count)]

    prefix = draw(40)
    sequences = [prefix + draw(rng.randint(1, 30)) for _ in range(6)] + [draw(rng.randint(2, 50)) for _ in range(3)]
    sequences += [sequences[0], sequences[1][:50]]
    return tuple(
        Datum(
            tuple(sequence[:-1]),
            {
                "target_tokens": ints(sequence[1:]),
                "weights": floats(rng.choice([0, 1, -0.5, 2]) for _ in sequence[1:]),
                "advantages": floats(rng.choice([0, 1, -0.5, 2]) for _ in sequence[1:]),
                "logprobs": floats(rng.uniform(-8, -3) for _ in sequence[1:]),
            },
        )
        for sequence in sequences
    )


def reference_loss(loss: str, logprobs: Tensor, datum: Datum) -> Tensor:
    values = {name: torch.tensor(array.tolist()) for name, array in datum.inputs.items()}
    if loss == "cross_entropy":
        return -(values["weights"] * logprobs).sum()
    ratio = (logprobs - values["logprobs"]).exp()
    if loss == "importance_sampling":
        return -(ratio * values["advantages"]).sum()
    clipped = ratio.clamp(0.8, 1.2)
    return -torch.minimum(ratio * values["advantages"], clipped * values["advantages"]).sum()


async def disturb(engine: TorchEngine, spec: LoraSpec) -> None:
    """Create RUN with B ≠ 0, so that both factors have a gradient."""
    await engine.trainer.create(RUN, spec)

    def fill() -> None:
        torch.manual_seed(3)
        for pair in engine.training.pupil(RUN).adapter.pairs.values():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            with torch.no_grad():
                pair.b_OR.copy_(torch.randn_like(pair.b_OR) * 0.05 * blocks)

    await engine.call(fill)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing`")
@pytest.mark.parametrize(
    ("loss", "spec"),
    [
        ("cross_entropy", LoraSpec(rank=4, seed=1)),
        ("importance_sampling", LoraSpec(rank=8, seed=2, train_unembed=False)),
        ("ppo", LoraSpec(rank=2, seed=3, train_attn=False)),
        ("ppo", LoraSpec(rank=1, seed=4, train_mlp=False)),
    ],
)
async def test_matches_peft(engine: TorchEngine, tiny_llama: Path, tmp_path: Path, loss: str, spec: LoraSpec) -> None:
    await disturb(engine, spec)
    data = some_data(spec.seed)
    (result,) = await engine.trainer.run([Pass(RUN, data, loss)])
    assert result.failure is None
    assert result.metrics["packed:sum"] < 0.6 * result.metrics["tokens:sum"], "shared prefixes were computed twice"
    await engine.trainer.save(RUN, tmp_path, optimizer=True)

    base = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(tmp_path), is_trainable=True)
    total = torch.zeros(())
    for datum, ours in zip(data, result.logprobs, strict=True):
        targets = torch.tensor(datum.inputs["target_tokens"].tolist())
        logits = theirs(torch.tensor([datum.tokens])).logits[0]
        logprobs = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(ours.tolist()), logprobs.detach(), atol=2e-5, rtol=0)
        total = total + reference_loss(loss, logprobs, datum)
    total.backward()
    assert result.metrics["loss:sum"] == pytest.approx(float(total.detach()), rel=1e-5)
    pupil = engine.training.pupil(RUN)
    ours = dict(named_tensors(engine.model.config, pupil.adapter, pupil.gradient.tensors))
    expected = {name.replace(".default", ""): p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    assert expected.keys() == ours.keys()
    off = sum(float((ours[name] - grad).pow(2).sum()) for name, grad in expected.items() if grad is not None)
    size = sum(float(grad.pow(2).sum()) for grad in expected.values() if grad is not None)
    assert (off / size) ** 0.5 < 1e-4


async def test_adamw_matches_torch(engine: TorchEngine) -> None:
    await disturb(engine, LoraSpec(rank=2, seed=5))
    pupil = engine.training.pupil(RUN)
    twins = [p.detach().clone().requires_grad_() for p in pupil.adapter.parameters()]
    params = OptimParams(learning_rate=1e-2, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, grad_clip_norm=0.5)
    twin = torch.optim.AdamW(twins, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for seed in range(3):
        await engine.trainer.run([Pass(RUN, some_data(seed), "cross_entropy")])
        for p, g in zip(twins, pupil.gradient.tensors, strict=True):
            p.grad = g.clone()
        torch.nn.utils.clip_grad_norm_(twins, 0.5)
        metrics = await engine.trainer.step(RUN, params)
        assert metrics["grad_norm"] > 0.5, "clipping was not exercised"
        twin.step()
        for p, q in zip(pupil.adapter.parameters(), twins, strict=True):
            torch.testing.assert_close(p, q, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
async def test_qwen_families_match_transformers(tmp_path: Path, family: str) -> None:
    torch.manual_seed(1)
    shape = {
        "vocab_size": 300,
        "hidden_size": 64,
        "intermediate_size": 80,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
    }
    model = (
        Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in shape.items() if k != "head_dim"}))
        if family == "qwen2"
        else Qwen3ForCausalLM(Qwen3Config(**shape))
    )
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name or "bias" in name:
                value.add_(torch.randn_like(value) * 0.1)
    model.save_pretrained(tmp_path)
    engine = TorchEngine(tmp_path)
    await engine.trainer.create(RUN, LoraSpec(rank=2))
    data = some_data(0)[:2]
    (result,) = await engine.trainer.run([Pass(RUN, data, "cross_entropy", backward=False)])
    for datum, ours in zip(data, result.logprobs, strict=True):
        targets = torch.tensor(datum.inputs["target_tokens"].tolist())
        logprobs = model(torch.tensor([datum.tokens])).logits[0].log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(ours.tolist()), logprobs.detach(), atol=1e-4, rtol=0)
    engine.close()
