"""The reverse KL against plain autograd through transformers and PEFT: values and LoRA gradients of the student.

The continuations fill several micro-batches and chunks, some begin alike, and the reference reads other prompts.
"""

import random
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaForCausalLM

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import named_tensors
from anubhav.backends.torch.training.losses import reverse_kl
from anubhav.errors import BadInput
from anubhav.types.distilling import Continuation, Distillation
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec

RUN, TEACHER = AdapterId("run"), AdapterId("teacher")
SPEC = LoraSpec(rank=4, seed=1)


def some_data() -> tuple[Continuation, ...]:
    rng = random.Random(5)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(300) for _ in range(count))

    common = draw(40)
    data: list[Continuation] = []
    for number in range(7):
        targets = draw(rng.randint(90, 110)) if number else draw(1)
        if number in (2, 4):
            # The same words behind the same prompt, so that rows are shared, before another reference prompt.
            targets = data[1].targets[:30] + draw(20)
        weights = tuple(rng.choice([0.0, 1.0, 0.5, 2.0, -1.0]) for _ in targets) if number else (1.0,)
        if number == 6:
            weights = (0.0,) * len(targets)
        data.append(Continuation(common[: 40 - 3 * (number % 2)], draw(20 + 5 * number), targets, weights))
    return tuple(data)


async def disturb(engine: TorchEngine, name: AdapterId, seed: int) -> None:
    """Create it with B ≠ 0, so that both factors have a gradient."""
    await engine.trainer.create(name, SPEC)

    def fill() -> None:
        torch.manual_seed(seed)
        for pair in engine.training.pupil(name).adapter.pairs.values():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            with torch.no_grad():
                pair.b_OR.copy_(torch.randn_like(pair.b_OR) * 0.05 * blocks)

    await engine.call(fill)


def kl_of(student: Tensor, reference: Tensor, temperature: float) -> Tensor:
    p, q = (student / temperature).log_softmax(-1), (reference / temperature).log_softmax(-1)
    return torch.nn.functional.kl_div(q, p, log_target=True, reduction="none").sum(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_the_derivative_by_hand_is_that_of_autograd(temperature: float) -> None:
    torch.manual_seed(1)
    logits = (torch.randn(5, 40, dtype=torch.float64) * 3).requires_grad_()
    reference, weights = torch.randn(5, 40, dtype=torch.float64) * 3, torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    total = (weights * temperature**2 * kl_of(logits, reference, temperature)).sum()
    (wanted,) = torch.autograd.grad(total, logits)
    loss, slope = reverse_kl.compute(logits.detach(), reference, weights, temperature)
    assert float(loss.sum()) == pytest.approx(float(total.detach()), rel=1e-5)
    torch.testing.assert_close(slope.double(), wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`", "ignore:`is_gradient_checkpointing`")
@pytest.mark.parametrize(("temperature", "of_base"), [(1.0, False), (1.7, False), (1.0, True)])
async def test_matches_autograd(
    engine: TorchEngine, tiny_llama: Path, tmp_path: Path, temperature: float, of_base: bool
) -> None:
    await disturb(engine, RUN, 3)
    await disturb(engine, TEACHER, 4)
    for name in (RUN, TEACHER):
        (tmp_path / name).mkdir()
        await engine.trainer.save(name, tmp_path / name, optimizer=False)
    work = Distillation(some_data(), temperature)
    told = await engine.trainer.distil(RUN, work, None if of_base else tmp_path / "teacher")

    def load(name: str) -> PeftModel:
        base = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
        return PeftModel.from_pretrained(base, str(tmp_path / name), is_trainable=True)

    student, teacher = load("run"), load("teacher")
    losses: list[Tensor] = []
    for datum in work.data:
        count = len(datum.targets)
        ours = student(torch.tensor([datum.prompt + datum.targets])).logits[0, -count - 1 : -1]
        with torch.no_grad():
            other = teacher.get_base_model() if of_base else teacher
            with teacher.disable_adapter() if of_base else torch.no_grad():
                theirs = other(torch.tensor([datum.reference_prompt + datum.targets])).logits[0, -count - 1 : -1]
        losses.append((torch.tensor(datum.weights) * temperature**2 * kl_of(ours, theirs, temperature)).sum())
    assert told.losses == pytest.approx([float(loss.detach()) for loss in losses], rel=1e-3, abs=1e-5)
    assert told.metrics["loss:sum"] == pytest.approx(sum(told.losses))
    assert told.metrics["num_tokens:sum"] == sum(1 for datum in work.data for weight in datum.weights if weight)
    torch.stack(losses).sum().backward()
    pupil = engine.training.pupil(RUN)
    found = dict(named_tensors(engine.model.config, pupil.adapter, pupil.gradient.tensors))
    expected = {name.replace(".default", ""): p.grad for name, p in student.named_parameters() if p.requires_grad}
    assert expected.keys() == found.keys()
    off = sum(float((found[name] - grad).pow(2).sum()) for name, grad in expected.items() if grad is not None)
    size = sum(float(grad.pow(2).sum()) for grad in expected.values() if grad is not None)
    assert (off / size) ** 0.5 < 2e-4


async def test_what_is_not_finite_adds_nothing(engine: TorchEngine) -> None:
    await disturb(engine, RUN, 3)
    data = some_data()[:3]
    before = await engine.trainer.distil(RUN, Distillation(data[:1]), None)

    def spoil() -> None:
        with torch.no_grad():
            pair = next(iter(engine.training.pupil(RUN).adapter.pairs.values()))
            pair.a_RI[0, 0] = float("nan")

    kept = [tensor.clone() for tensor in engine.training.pupil(RUN).gradient.tensors]
    await engine.call(spoil)
    with pytest.raises(BadInput, match="finite"):
        await engine.trainer.distil(RUN, Distillation(data), None)
    assert before.losses[0] > 0
    now = engine.training.pupil(RUN).gradient.tensors
    assert all(torch.equal(one, two) for one, two in zip(kept, now, strict=True))
