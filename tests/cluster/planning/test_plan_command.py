"""`anubhav plan`, from its options to what it prints and writes."""

import importlib.util
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch.distributed
from click.testing import CliRunner, Result
from tiny_configs import DENSE, LATENT

from anubhav.cli import main
from anubhav.cluster.sharded.designs import read_design


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["plan", *arguments])


@pytest.fixture
def folder(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps(LATENT))
    return str(tmp_path / "model")


def test_kimi_k2_on_64_cards(planned: None) -> None:
    result = run("--model", "kimi-k2", "--gpus", "64", "--gpu-memory", "80", "--rank", "32", "-f", "json")
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.output)
    assert made["model"]["parameters"] == 1_026_408_209_408
    assert made["model"]["router_biases"] == 23_040
    assert made["adapter"]["parameters"]["shared-outer"] == 32 * 146_694_976
    assert (made["comparison"]["lora_cards"], made["comparison"]["full_cards"]) == (32, 272)
    assert made["instantiated"]["total_bytes"] <= 68e9
    counted, measured = made["best"]["arithmetic"]["stages"][0], made["instantiated"]["stages"][0]
    assert {name: counted[name] for name in measured} == measured
    assert made["instantiated"]["traced"]["calls"]["all-to-all"] == 360
    assert made["best"]["estimate"]["step"] > 0
    assert len(made["others"]) == 4
    # What is global to a process stayed in the other one.
    assert "WORLD_SIZE" not in os.environ
    assert not torch.distributed.is_initialized()


def test_a_table_says_what_is_estimated_and_what_was_instantiated(planned: None, folder: str) -> None:
    result = run("--model", folder, "--gpus", "4", "--rank", "4", "--sequence", "128", "--layout", "fsdp=4,ep=4")
    assert result.exit_code == 0, result.output
    for words in ("instantiated", "arithmetic", "estimate", "traced", "tp=1 pp=1 ep=4 sp=1 fsdp=4", "all-to-all"):
        assert words in result.output


def test_a_pipeline_is_planned_without_a_trace(planned: None, folder: str) -> None:
    arguments = (
        "--model",
        folder,
        "--gpus",
        "8",
        "--rank",
        "4",
        "--sequence",
        "128",
        "--layout",
        "pp=2,tp=2,fsdp=2,ep=4",
    )
    made = json.loads(run(*arguments, "-f", "json").output)
    assert made["instantiated"]["traced"] is None
    assert len(made["instantiated"]["stages"]) == 2
    assert {one["axis"] for one in made["best"]["arithmetic"]["collectives"]} >= {"pp", "tp", "ep", "fsdp"}


def test_a_plan_is_written(planned: None, folder: str, tmp_path: Path) -> None:
    to = tmp_path / "plan"
    result = run("--model", folder, "--gpus", "16", "--rank", "4", "--sequence", "128", "--write", str(to))
    assert result.exit_code == 0, result.output
    placed = json.loads((to / "cluster.json").read_text())["trainer"]
    layout = placed["layout"]
    assert layout["tp"] * layout["pp"] * layout["fsdp"] == placed["ranks"] == 16
    assert placed["placement"]["bundles"] == [{"GPU": 8, "CPU": 8}] * 2
    assert [rank for node in placed["placement"]["ranks"] for rank in node] == list(range(16))
    assert placed["stages"][-1][-1] == 4
    assert json.loads((to / "plan.json").read_text())["best"]["layout"] == layout
    design = read_design(str(to / "cluster.json"))  # as `anubhav serve --layout` does
    assert (asdict(design.layout), design.kind, design.budget, design.bundles) == (layout, "shared_outer", 128, (8, 8))
    assert design.sizes["n_routed_experts"] == LATENT["n_routed_experts"]
    assert run("--model", folder, "--write", str(to)).exit_code == 1


# The keys as the engines' own configurations have them (docs/plan.md says where they were read).
KNOWN = {
    "megatron-bridge.yaml": """model peft train dataset tensor_model_parallel_size pipeline_model_parallel_size
        context_parallel_size expert_model_parallel_size expert_tensor_parallel_size sequence_parallel pipeline_dtype
        dim alpha target_modules normalize_moe_lora share_expert_adapters experts_shared_outer_loras global_batch_size
        micro_batch_size seq_length""",
    "verl.yaml": """trainer nnodes n_gpus_per_node data train_batch_size actor_rollout_ref model path lora type rank
        alpha target_modules normalize_moe_lora share_expert_adapters experts_shared_outer_loras actor
        ppo_micro_batch_size_per_gpu megatron use_mbridge vanilla_mbridge tensor_model_parallel_size
        pipeline_model_parallel_size context_parallel_size expert_model_parallel_size expert_tensor_parallel_size
        sequence_parallel""",
    "skyrl.yaml": """trainer strategy placement policy_num_nodes policy_num_gpus_per_node train_batch_size
        micro_train_batch_size_per_gpu policy model path lora rank alpha target_modules megatron_config
        tensor_model_parallel_size pipeline_model_parallel_size context_parallel_size expert_model_parallel_size
        expert_tensor_parallel_size lora_config lora_type merge_lora""",
}


def test_other_engines_get_their_own_keys_and_a_warning(planned: None, folder: str, tmp_path: Path) -> None:
    to = tmp_path / "plan"
    arguments = ("--model", folder, "--gpus", "4", "--rank", "4", "--sequence", "128", "--layout", "fsdp=4,ep=2")
    assert run(*arguments, "--write", str(to)).exit_code == 0
    for name, known in KNOWN.items():
        text = (to / name).read_text()
        assert text.startswith("# Not executed.")
        assert set(re.findall(r"^ *(\w+):", text, re.MULTILINE)) == set(known.split())
        assert "expert_model_parallel_size: 2\n" in text
        assert "linear_kv_down_proj" in text


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (("--model", "kimi-k3"), "no model 'kimi-k3'", "kimi-k2"),
        (("--model", "kimi-k2", "--gpus", "16"), "kimi-k2 does not fit on 16 GPUs", "plan that works: --gpus "),
        (("--model", "kimi-k2", "--gpus", "64", "--sequence", "1048576"), "activations", "--sequence"),
        (("--model", "kimi-k2", "--gpus", "64", "--layout", "fsdp=64,ep=48"), "ep=48 does not divide", "--layout "),
        (
            ("--model", "qwen3-8b", "--gpus", "24", "--layout", "tp=3,fsdp=8"),
            "the 32 query and 8 key heads",
            "--layout",
        ),
        (("--model", "qwen3-8b", "--gpus", "8", "--layout", "tp=2"), "makes 2 ranks", "--layout tp=2"),
        (("--model", "qwen3-8b", "--gpus", "12"), "no whole nodes of 8", "--gpus 8 or 16"),
        (("--model", "qwen3-8b", "--gpus", "0"), "--gpus is 0", "1 or more"),
        (("--model", "qwen3-8b", "--gpu", "abacus"), "no figures of 'abacus'", "h100"),
        (("--model", "qwen3-8b", "--usable", "2"), "--usable is 2", "share"),
        (
            ("--model", "qwen3-30b-a3b", "--rank", "12", "--experts", "rank-normalised"),
            "Rank 12 over 8 experts",
            "8 or 16",
        ),
        (("--model", "qwen3-8b", "--layout", "zz=2"), "no part of a layout", "AXIS=SIZE"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_planned_is_said_with_what_can(
    planned: None, arguments: tuple[str, ...], says: str, hint: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert says in result.output
    assert hint in result.output
    assert "Traceback" not in result.output


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name))
    (tmp_path / "config.json").write_text(json.dumps(DENSE))
    result = run("--model", str(tmp_path))
    assert result.exit_code == 1
    assert "pip install 'anubhav[transformers]'" in result.output
