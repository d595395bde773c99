"""Adapters of mixtures as other engines write them: read to the same function, ours through PEFT and back to the bit.

The layouts are those of Megatron-Bridge's peft_bridge.py and of PEFT 0.21 on transformers 5, built here from ours.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from replay import DATUM, logprobs_of
from safetensors import safe_open
from test_families import write
from torch import Tensor

from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.peft_files import read_adapter, write_adapter
from anubhav.backends.torch.files.tensor_file import write_tensors
from anubhav.backends.torch.layers.adapters import Adapter, fresh_adapter, split
from anubhav.backends.torch.models.families import read_config
from anubhav.cluster.sharded import files
from anubhav.errors import BadInput
from anubhav.types.ids import AdapterId
from anubhav.types.training import LoraSpec, Pass

CPU, RUN = torch.device("cpu"), AdapterId("run")
FAMILIES = ("qwen3 mixture", "deepseek")
State = dict[str, Tensor]
ROOT = "base_model.model."
FUSED = {"gate_proj": 0, "up_proj": 1}


def load_file(file: Path) -> State:
    with safe_open(file, framework="pt") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118


def save_file(state: State, file: Path) -> None:
    write_tensors(file, {name: tensor.contiguous() for name, tensor in state.items()}, {})


def ours(folder: Path, family: str, *, shared: bool = False) -> tuple[Any, Adapter]:
    """(config, adapter) of the family's tiny model in `folder`, saved in `folder`/ours; B ≠ 0."""
    write(family, folder)
    config = read_config(folder)
    adapter = fresh_adapter(config, LoraSpec(rank=4, seed=1), CPU)
    torch.manual_seed(2)
    with torch.no_grad():
        for (_, group), pair in adapter.pairs.items():
            blocks = 1 if pair.blocks_OR is None else pair.blocks_OR
            pair.b_OR.copy_(torch.randn_like(pair.b_OR) * 0.1 * blocks)
            if shared and group in ("experts_gate", "experts_up"):
                pair.a_RI.copy_(adapter.pairs[_, "experts_gate"].a_RI[:1].expand_as(pair.a_RI))
            if shared and group == "experts_down":
                pair.b_OR.copy_(pair.b_OR[:1].expand_as(pair.b_OR).clone())
    (folder / "ours").mkdir()
    write_adapter(config, adapter, folder / "ours", None)
    return config, adapter


def changes(config: Any, adapter: Adapter) -> dict[str, Tensor]:
    """What it adds to each linear layer's weights."""
    found: dict[str, Tensor] = {}
    for (layer, group), pair in adapter.pairs.items():
        for module, a, b in split(config, adapter.spec, group, pair.a_RI, pair.b_OR):
            found[config.module_name(layer, module)] = adapter.scale * b.detach() @ a.detach()
    return found


def experts_of(state: State) -> dict[str, dict[str, Tensor]]:
    """Layer's root → module and half → (X, …); takes them out of the state."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    for name in [name for name in state if ".experts." in name]:
        root, _, rest = name.partition(".experts.")
        _, module, half, _ = rest.split(".")
        found.setdefault(root, {}).setdefault(f"{module}.{half}", []).append(state.pop(name))
    return {root: {name: torch.stack(parts) for name, parts in those.items()} for root, those in found.items()}


def without_prefix(state: State) -> State:
    """As Megatron-Bridge streams adapter weights."""
    return {name.removeprefix(ROOT): tensor for name, tensor in state.items()}


def shared_outer(state: State) -> State:
    """Megatron-Bridge, experts_shared_outer_loras: the shared side once, (1, …), and the other for each expert."""
    for root, those in experts_of(state).items():
        for name, stack in those.items():
            if name in ("gate_proj.lora_A", "up_proj.lora_A", "down_proj.lora_B"):
                state[f"{root}.experts.{name}.weight"] = stack[:1].clone()
            else:
                module, half = name.split(".")
                for number, one in enumerate(stack):
                    state[f"{root}.experts.{number}.{module}.{half}.weight"] = one.clone()
    return state


def packed(state: State) -> State:
    """Megatron-Bridge, where Hugging Face's experts are parameters; gate and up have one A there."""
    for root, those in experts_of(state).items():
        both = {half: [those[f"{module}.lora_{half}"] for module in FUSED] for half in "AB"}
        state[f"{root}.experts.gate_up_proj.lora_A.weight"] = both["A"][0].clone()
        state[f"{root}.experts.gate_up_proj.lora_B.weight"] = torch.cat(both["B"], 1)
        for half in "AB":
            state[f"{root}.experts.down_proj.lora_{half}.weight"] = those[f"down_proj.lora_{half}"].clone()
    return state


LAYOUTS: Mapping[str, Callable[[State], State]] = {
    "for each expert, streamed": without_prefix,
    "shared side once": shared_outer,
    "shared side once, streamed": lambda state: without_prefix(shared_outer(state)),
    "packed": packed,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_megatron_bridges_layouts_are_read(tmp_path: Path, family: str, layout: Callable[[State], State]) -> None:
    config, adapter = ours(tmp_path, family, shared=True)
    file = tmp_path / "ours" / "adapter_model.safetensors"
    before = load_file(file)
    state = layout(dict(before))
    assert state.keys() != before.keys()
    save_file(state, file)
    again, _ = read_adapter(config, tmp_path / "ours", CPU)
    assert all(map(torch.equal, adapter.parameters(), again.parameters()))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_alpha_and_ranks_of_their_own_count(tmp_path: Path, family: str) -> None:
    """Bridge's normalised experts: rank 2 of 4, which its config names one by one; alpha 64 throughout."""
    config, adapter = ours(tmp_path, family)
    expected = changes(config, adapter)
    file, options = tmp_path / "ours" / "adapter_model.safetensors", tmp_path / "ours" / "adapter_config.json"
    state: State = load_file(file)
    patterns: dict[str, int] = {}
    for name in [name for name in state if ".experts." in name]:
        state[name] = (state[name][:2] if "lora_A" in name else state[name][:, :2]).clone()
        patterns[name.removeprefix(ROOT).partition(".lora_")[0]] = 2
    for name in expected:
        a, b = (state[f"{ROOT}{name}.lora_{half}.weight"] for half in "AB")
        expected[name] = 64 / len(a) * b @ a
    save_file(state, file)
    told = json.loads(options.read_text())
    options.write_text(json.dumps({**told, "lora_alpha": 64, "rank_pattern": patterns, "alpha_pattern": {}}))
    again, _ = read_adapter(config, tmp_path / "ours", CPU)
    for name, change in changes(config, again).items():
        torch.testing.assert_close(change, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_ours_goes_through_peft_and_comes_back_to_the_bit(tmp_path: Path) -> None:
    """PEFT puts two adapters of gate and up into one of twice the rank."""
    config, adapter = ours(tmp_path, "qwen3 mixture")
    model = PeftModel.from_pretrained(reference.load(tmp_path), str(tmp_path / "ours"))
    model.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    names = load_file(tmp_path / "theirs" / "adapter_model.safetensors").keys()
    assert f"{ROOT}model.layers.0.mlp.experts.base_layer.lora_A.weight" in names
    again, _ = read_adapter(config, tmp_path / "theirs", CPU)
    assert again.spec == LoraSpec(rank=4)
    assert all(map(torch.equal, adapter.parameters(), again.parameters()))


TARGETS = {
    "both": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
    "gate and up alone": ["mlp.experts.gate_up_proj"],
    "down alone": ["mlp.experts.down_proj"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
async def test_parameters_that_peft_trained_are_the_same_function_here(
    tmp_path: Path, family: str, targets: list[str]
) -> None:
    write(family, tmp_path)
    torch.manual_seed(3)
    options = LoraConfig(r=3, lora_alpha=5, target_modules=["o_proj"], target_parameters=targets)
    model = get_peft_model(reference.load(tmp_path), options)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(tmp_path / "theirs", save_embedding_layers=False)
    engine = TorchEngine(tmp_path)
    await engine.trainer.load(RUN, tmp_path / "theirs", optimizer=False)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    engine.close()
    theirs, plain = logprobs_of(model), logprobs_of(reference.load(tmp_path))
    assert found.logprobs[0].tolist() == pytest.approx(theirs, abs=5e-5)
    assert max(abs(a - b) for a, b in zip(theirs, plain, strict=True)) > 0.005, "the adapter does nothing"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shared_side_is_shared_where_experts_share(tmp_path: Path, family: str) -> None:
    config, adapter = ours(tmp_path, family, shared=True)
    file = tmp_path / "ours" / "adapter_model.safetensors"
    save_file(shared_outer(load_file(file)), file)
    layer = config.layers - 1
    whole = files.read(config, "shared_outer", tmp_path / "ours").weights.factors
    a, b = whole[layer, "experts_down"]
    assert (len(a), len(b)) == (config.mixture.experts, 1)
    assert torch.equal(b[0], adapter.pairs[layer, "experts_down"].b_OR[0])
    with pytest.raises(BadInput, match="share one"):
        files.read(config, "tied", tmp_path / "ours")


WRONG: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "a router": ("model.layers.1.mlp.gate.lora_A.weight", (4, 64), "router"),
    "an up projection": ("model.layers.1.self_attn.q_b_proj.lora_A.weight", (4, 24), "linear_q_up_proj"),
    "Megatron's names": (
        "decoder.layers.1.self_attention.linear_qkv.adapter.linear_in.weight", (4, 64), "save_hf_adapter",
    ),
    "DoRA": ("model.layers.1.self_attn.o_proj.lora_magnitude_vector", (64,), "DoRA"),
    "one factor alone": ("model.layers.1.mlp.experts.gate_up_proj.lora_A.weight", (8, 4, 64), "not the other"),
    "experts of another model": ("model.layers.1.mlp.experts.up_proj.lora_A.weight", (5, 4, 64), "5 experts, not 8"),
    "a matrix for all": ("model.layers.1.mlp.experts.up_proj.lora_A.weight", (4, 64), "no matrix"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_converted_is_refused_by_name(
    tmp_path: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    config, _ = ours(tmp_path, "deepseek")
    file = tmp_path / "ours" / "adapter_model.safetensors"
    save_file({**load_file(file), ROOT + name: torch.zeros(shape)}, file)
    with pytest.raises(BadInput) as refused:
        read_adapter(config, tmp_path / "ours", CPU)
    assert message in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(("rows", "columns"), [(48, 64), (96, 64), (64, 96)])
def test_flat_factors_of_other_shapes_are_refused(tmp_path: Path, rows: int, columns: int) -> None:
    """Among them (96, 64), down's and gate's sides in one, and (64, 96), inputs and outputs turned round."""
    config, _ = ours(tmp_path, "deepseek")
    state = {
        f"{ROOT}model.layers.1.mlp.experts.lora_A.weight": torch.zeros(8 * 4, columns),
        f"{ROOT}model.layers.1.mlp.experts.lora_B.weight": torch.zeros(rows, 8 * 4),
    }
    if (rows, columns) == (96, 64):
        state[f"{ROOT}model.layers.1.mlp.experts.lora_B.weight"] = torch.zeros(rows, 8 * 3)
    save_file(state, tmp_path / "ours" / "adapter_model.safetensors")
    with pytest.raises(BadInput, match=r"mlp\.experts"):
        read_adapter(config, tmp_path / "ours", CPU)
