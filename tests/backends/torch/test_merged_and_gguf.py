"""Exports say what the trainer says: merged folders in transformers, GGUF adapters on a GGUF model's own tensors."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import platformdirs
import pytest
import torch
from peft import PeftModel
from replay import DATUM, RUN, logprobs_of
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from anubhav.app import export_adapter
from anubhav.backends.torch.engine import TorchEngine
from anubhav.backends.torch.files.convert import _unpermute, convert_gguf
from anubhav.backends.torch.files.gguf_adapter import write_gguf_adapter
from anubhav.backends.torch.files.merging import write_merged
from anubhav.catalog.folders import inspect
from anubhav.catalog.library import Library
from anubhav.errors import BadInput
from anubhav.types.models import Model
from anubhav.types.training import LoraSpec, OptimParams, Pass

BODY = LoraSpec(rank=4, seed=2, train_unembed=False)


@pytest.fixture(scope="module")
def smollm2() -> Model:
    data = Path(os.environ.get("ANUBHAV_DATA_DIR") or platformdirs.user_data_dir("anubhav"))
    return Library(data / "models").pull("smollm2-135m-instruct", convert_gguf, print)


async def learn(engine: TorchEngine, spec: LoraSpec, folder: Path) -> list[float]:
    """Save an adapter that some steps have shaped; returns the trainer's log-probabilities under it."""
    await engine.trainer.create(RUN, spec)
    for _ in range(3):
        await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy")])
        await engine.trainer.step(RUN, OptimParams(learning_rate=1e-2))
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs here
    await engine.trainer.save(RUN, folder, optimizer=False)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    return found.logprobs[0].tolist()


@pytest.mark.parametrize("unembed", [False, True])
async def test_a_merged_folder_replays_the_trainer(
    engine: TorchEngine, tiny_llama: Path, tmp_path: Path, unembed: bool
) -> None:
    ours = await learn(engine, LoraSpec(rank=4, seed=1, train_unembed=unembed), tmp_path / "adapter")
    base = Model("tiny", tiny_llama, "Apache-2.0", "folder", 256, 300)
    (tmp_path / "merged").mkdir()
    export_adapter(tmp_path / "adapter", base, tmp_path / "merged", form="merged")
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert theirs.config.tie_word_embeddings is not unembed
    assert logprobs_of(theirs) == pytest.approx(ours, abs=2e-5)
    plain = logprobs_of(LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32))
    assert max(abs(a - b) for a, b in zip(ours, plain, strict=True)) > 0.1, "nothing was learnt"
    shutil.copyfile(tiny_llama / "config.json", tmp_path / "merged" / "tokenizer.json")
    assert inspect(tmp_path / "merged", "merged", repair="").licence == "Apache-2.0"
    mine = TorchEngine(tmp_path / "merged")
    await mine.trainer.create(RUN, BODY)
    (found,) = await mine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    mine.close()
    assert found.logprobs[0].tolist() == pytest.approx(ours, abs=2e-5)


async def test_merging_keeps_the_shards_of_its_base(engine: TorchEngine, tiny_llama: Path, tmp_path: Path) -> None:
    ours = await learn(engine, LoraSpec(rank=2, seed=1), tmp_path / "adapter")
    LlamaForCausalLM.from_pretrained(tiny_llama).save_pretrained(tmp_path / "sharded", max_shard_size="150KB")
    shards = {file.name for file in (tmp_path / "sharded").glob("*.safetensors")}
    assert len(shards) > 1
    (tmp_path / "merged").mkdir()
    write_merged(tmp_path / "adapter", tmp_path / "sharded", tmp_path / "merged")
    assert {file.name for file in (tmp_path / "merged").glob("*.safetensors")} == shards
    index = json.loads((tmp_path / "merged" / "model.safetensors.index.json").read_text())
    assert "lm_head.weight" in index["weight_map"]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    assert logprobs_of(theirs) == pytest.approx(ours, abs=2e-5)


def read_pairs(file: Path) -> tuple[dict[str, Any], dict[str, tuple[Tensor, Tensor]]]:
    """Metadata and (A, B) by the name of the tensor they add to, as ggml's own library reads them."""
    reader = gguf.GGUFReader(file)
    tensors = {one.name: torch.from_numpy(one.data.copy()) for one in reader.tensors}
    names = {name.removesuffix(".lora_a") for name in tensors if name.endswith(".lora_a")}
    assert {f"{name}.lora_{half}" for name in names for half in "ab"} == tensors.keys()
    about = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return about, {name: (tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]) for name in names}


HF_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name: str) -> str:
    if name == "output.weight":
        return "lm_head.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{HF_NAMES[part]}.weight"


def permute(weight: Tensor, heads: int) -> Tensor:
    """What llama.cpp's convert_hf_to_gguf.py does to q and k of Llama models (LlamaModel.permute)."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def apply(model: Any, about: Mapping[str, Any], pairs: Mapping[str, tuple[Tensor, Tensor]], *, permuted: bool) -> None:
    """Add the adapter to the model as llama.cpp would: to tensors in GGUF's order, which is then undone."""
    weights = dict(model.named_parameters())
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            weight, count = weights[hf_name(name)], heads.get(name.split(".")[-2]) if permuted else None
            stored = permute(weight, count) if count else weight.clone()
            stored += about["adapter.lora.alpha"] / a.shape[0] * (b @ a)
            weight.copy_(_unpermute(stored, count) if count else stored)


async def test_a_gguf_adapter_replays_the_trainer(engine: TorchEngine, tiny_llama: Path, tmp_path: Path) -> None:
    ours = await learn(engine, BODY, tmp_path / "adapter")
    write_gguf_adapter(tmp_path / "adapter", tiny_llama, tmp_path / "adapter.gguf")
    about, pairs = read_pairs(tmp_path / "adapter.gguf")
    assert about == {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 32.0,
        "general.file_type": 0,
    }
    assert {name.split(".", 2)[-1] for name in pairs} == {f"{part}.weight" for part in HF_NAMES}
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    apply(model, about, pairs, permuted=True)
    assert logprobs_of(model) == pytest.approx(ours, abs=2e-5)


async def test_families_without_the_permutation_and_with_an_unembedding_of_their_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, **heads, max_position_embeddings=128))
    model.save_pretrained(tmp_path / "base")
    engine = TorchEngine(tmp_path / "base")
    ours = await learn(engine, LoraSpec(rank=2), tmp_path / "adapter")
    engine.close()
    write_gguf_adapter(tmp_path / "adapter", tmp_path / "base", tmp_path / "adapter.gguf")
    about, pairs = read_pairs(tmp_path / "adapter.gguf")
    assert about["general.architecture"] == "qwen2"
    assert "output.weight" in pairs
    apply(model, about, pairs, permuted=False)
    assert logprobs_of(model) == pytest.approx(ours, abs=2e-5)


async def test_a_tied_unembedding_is_no_gguf_adapter(engine: TorchEngine, tiny_llama: Path, tmp_path: Path) -> None:
    await learn(engine, LoraSpec(rank=2), tmp_path / "adapter")
    with pytest.raises(BadInput, match="embedding"):
        write_gguf_adapter(tmp_path / "adapter", tiny_llama, tmp_path / "adapter.gguf")
    assert not (tmp_path / "adapter.gguf").exists()


async def test_a_bf16_base_stays_bf16(engine: TorchEngine, tiny_llama: Path, tmp_path: Path) -> None:
    await learn(engine, BODY, tmp_path / "adapter")
    LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).save_pretrained(tmp_path / "base")
    (tmp_path / "merged").mkdir()
    write_merged(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    with safe_open(tmp_path / "merged" / "model.safetensors", framework="pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118 - not a mapping
    assert kinds == {torch.bfloat16}


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`")
async def test_the_real_model_says_the_same_after_each_export(smollm2: Model, tmp_path: Path) -> None:
    engine = TorchEngine(smollm2.folder)
    ours = await learn(engine, BODY, tmp_path / "adapter")
    engine.close()
    model = AutoModelForCausalLM.from_pretrained(smollm2.folder, dtype=torch.float32)
    plain = logprobs_of(model)
    assert sum(ours) > sum(plain) + 10, "nothing was learnt"
    theirs = PeftModel.from_pretrained(model, str(tmp_path / "adapter"))
    assert logprobs_of(theirs) == pytest.approx(ours, abs=1e-3)
    (tmp_path / "merged").mkdir()
    export_adapter(tmp_path / "adapter", smollm2, tmp_path / "merged", form="merged")
    assert inspect(tmp_path / "merged", "merged", repair="").licence == "Apache-2.0"
    AutoTokenizer.from_pretrained(tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    # It is in the base's own bf16, and the rounding is all that keeps it from the trainer's numbers.
    rounded = theirs.merge_and_unload().to(torch.bfloat16).float()
    assert logprobs_of(merged) == pytest.approx(logprobs_of(rounded), abs=0.02)


async def test_a_blend_is_the_weighted_sum_of_what_its_parts_add(
    engine: TorchEngine, tiny_llama: Path, tmp_path: Path
) -> None:
    specs = (LoraSpec(rank=4, seed=1), LoraSpec(rank=3, seed=2, train_mlp=False))
    parts: list[tuple[Path, float]] = []
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    expected = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain = {name: weight.clone() for name, weight in expected.items()}
    for number, (spec, share) in enumerate(zip(specs, (0.7, -0.4), strict=True)):
        await learn(engine, spec, tmp_path / f"{number}")
        parts.append((tmp_path / f"{number}", share))
        (tmp_path / f"merged-{number}").mkdir()
        write_merged(parts[-1][0], tiny_llama, tmp_path / f"merged-{number}")
        merged = LlamaForCausalLM.from_pretrained(tmp_path / f"merged-{number}", dtype=torch.float32).state_dict()
        for name, weight in merged.items():
            expected[name] += share * (weight - plain[name])
    untied = LlamaForCausalLM(LlamaForCausalLM.from_pretrained(tmp_path / "merged-0").config)
    untied.load_state_dict(expected)
    await engine.trainer.blend(RUN, parts)
    (found,) = await engine.trainer.run([Pass(RUN, (DATUM,), "cross_entropy", backward=False)])
    assert found.logprobs[0].tolist() == pytest.approx(logprobs_of(untied), abs=5e-5)
    assert engine.training.pupil(RUN).adapter.spec == LoraSpec(rank=7)
