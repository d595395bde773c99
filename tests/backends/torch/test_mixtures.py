"""Mixtures of experts: what a pass says of their loads, and their adapters in PEFT's and Tinker's files."""

from pathlib import Path

import pytest
import reference
import torch
from peft import PeftModel
from replay import DATUM, logprobs_of
from safetensors import safe_open
from test_families import disturb, write
from test_peft_parity import RUN, some_data
from torch import Tensor

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.merging import write_merged
from anubhav.backends.torch.files.peft_files import read_adapter
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.models.families import read_config
from anubhav.errors import BadInput
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec, OptimParams, Pass

CPU = torch.device("cpu")
IMPORTED = AdapterId("imported")


async def said(engine: TorchEngine, run: AdapterId) -> list[float]:
    (result,) = await engine.trainer.run([Pass(run, (DATUM,), "cross_entropy", backward=False)])
    assert result.failure is None
    return result.logprobs[0].tolist()


async def test_loads_are_those_of_the_data(tmp_path: Path) -> None:
    """Each sequence counts by itself, also where a prefix was computed once for several."""
    write("qwen3 mixture", tmp_path)
    engine = TorchEngine(tmp_path)
    await engine.trainer.create(RUN, LoraSpec(rank=2))
    data = some_data(3)
    (result,) = await engine.trainer.run([Pass(RUN, data, "cross_entropy")])
    engine.close()
    model = reference.load(tmp_path)
    counts_LX = torch.zeros(3, 6)
    for datum in data:
        layers = model(torch.tensor([datum.tokens]), output_router_logits=True).router_logits
        for counts_X, logits_TX in zip(counts_LX, layers, strict=True):
            counts_X += torch.bincount(logits_TX.topk(2, -1)[1].flatten(), minlength=6)
    even = sum(len(datum.tokens) for datum in data) * 2 / 6
    over_L = (counts_LX.amax(-1) - even) / even
    assert {name: value for name, value in result.metrics.items() if name.startswith("e_")} == pytest.approx(
        {
            "e_frac_with_tokens:mean": float((counts_LX > 0).float().mean()),
            "e_frac_oversubscribed:mean": float((counts_LX > even).float().mean()),
            "e_max_violation:mean": float(over_L.mean()),
            "e_max_violation:max": float(over_L.max()),
            "e_min_violation:mean": float(((counts_LX.amin(-1) - even) / even).mean()),
        }
    )
    assert over_L.max() > 0.2, "nothing was uneven"


@pytest.mark.parametrize(
    ("family", "spec"),
    [
        ("qwen3 mixture", LoraSpec(rank=4, seed=1)),
        ("deepseek", LoraSpec(rank=4, seed=1)),
        # PEFT takes no account of the shared experts and the dense layers once there are fused experts.
        ("deepseek", LoraSpec(rank=4, seed=1, train_mlp=False)),
    ],
)
@pytest.mark.filterwarnings("ignore")
async def test_exports_say_the_same_in_peft_and_merged(tmp_path: Path, family: str, spec: LoraSpec) -> None:
    base, adapter, merged = (tmp_path / name for name in ("base", "adapter", "merged"))
    for folder in (base, adapter, merged):
        folder.mkdir()
    write(family, base)
    engine = TorchEngine(base)
    await disturb(engine, spec)
    await engine.trainer.run([Pass(RUN, some_data(1), "cross_entropy")])
    await engine.trainer.step(RUN, OptimParams(learning_rate=1e-3))
    await engine.trainer.save(RUN, adapter, optimizer=True)
    ours = await said(engine, RUN)
    await engine.trainer.load(IMPORTED, adapter, optimizer=True)
    assert await said(engine, IMPORTED) == ours
    engine.close()

    if family != "deepseek" or not spec.train_mlp:
        theirs = PeftModel.from_pretrained(reference.load(base), str(adapter))
        assert logprobs_of(theirs) == pytest.approx(ours, abs=1e-4)
    write_merged(adapter, base, merged)
    assert logprobs_of(reference.load(merged)) == pytest.approx(ours, abs=1e-4)


async def test_dimuon_steps_and_blends_know_experts(tmp_path: Path) -> None:
    write("qwen3 mixture", tmp_path)
    engine = TorchEngine(tmp_path)
    await disturb(engine, LoraSpec(rank=4, seed=1, optimizer="dimuon"))
    before = [p.detach().clone() for p in engine.training.pupil(RUN).adapter.parameters()]
    await engine.trainer.run([Pass(RUN, some_data(1), "cross_entropy")])
    await engine.trainer.step(RUN, OptimParams(learning_rate=1e-2, family="dimuon"))
    after = engine.training.pupil(RUN).adapter.parameters()
    moved = [(old - new).abs().amax() for old, new in zip(before, after, strict=True)]
    assert min(moved) > 0
    ours = await said(engine, RUN)
    await engine.trainer.save(RUN, tmp_path, optimizer=False)
    await engine.trainer.blend(IMPORTED, [(tmp_path, 0.25), (tmp_path, 0.75)])
    assert await said(engine, IMPORTED) == pytest.approx(ours, abs=1e-4)
    engine.close()


async def test_tinkers_stacks_are_understood(tmp_path: Path) -> None:
    """A shared factor of all experts is in the file once."""
    write("qwen3 mixture", tmp_path)
    config = read_config(tmp_path)
    engine = TorchEngine(tmp_path)
    await disturb(engine, LoraSpec(rank=4, seed=1))
    await engine.trainer.save(RUN, tmp_path, optimizer=False)
    engine.close()
    file = tmp_path / "adapter_model.safetensors"
    with safe_open(file, framework="pt") as stream:
        tensors: dict[str, Tensor] = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    stacked: dict[str, Tensor] = {name: value for name, value in tensors.items() if ".experts." not in name}
    root = "base_model.model.model.layers.{}.mlp.experts."
    for layer in range(3):
        prefix = root.format(layer)
        for ours, theirs, shared in (("gate", "w1", "A"), ("up", "w3", "A"), ("down", "w2", "B")):
            for half in "AB":
                parts = [tensors[f"{prefix}{n}.{ours}_proj.lora_{half}.weight"] for n in range(6)]
                whole = torch.stack(parts[:1] if half == shared else parts)
                stacked[f"{prefix}{theirs}.lora_{half}.weight"] = whole
    write_tensors(file, stacked, {})
    adapter, _ = read_adapter(config, tmp_path, CPU)
    for layer in range(3):
        pair = adapter.pairs[layer, "experts_gate"]
        for n in range(6):
            assert pair.a_RI[n].equal(tensors[root.format(layer) + "0.gate_proj.lora_A.weight"])
            assert pair.b_OR[n].equal(tensors[root.format(layer) + f"{n}.gate_proj.lora_B.weight"])
        assert (
            adapter.pairs[layer, "experts_down"]
            .b_OR[5]
            .equal(tensors[root.format(layer) + "0.down_proj.lora_B.weight"])
        )
    name = root.format(0) + "w1.lora_A.weight"
    write_tensors(file, stacked | {name: stacked[name].repeat(5, 1, 1)}, {})
    with pytest.raises(BadInput, match="5 experts"):
        read_adapter(config, tmp_path, CPU)
