"""The plan in the words of engines that train elsewhere: Megatron-Bridge, verl over it, and SkyRL.

None of these files was executed: the engines want Python 3.12 and CUDA. Their keys are those of the published
configurations (docs/plan.md says which); what an engine has no key for is said in the comment above.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anubhav.cluster.planning.models import REPOSITORIES
from anubhav.cluster.planning.plan import Plan

_GROUPED_HEADS = ["linear_qkv", "linear_proj"]
_LATENT = ["linear_q_down_proj", "linear_q_up_proj", "linear_kv_down_proj", "linear_kv_up_proj", "linear_proj"]
_LATENT_TINKER = ["linear_q_down_proj", "linear_kv_down_proj", "linear_proj"]
_MLP = ["linear_fc1", "linear_fc2"]
_NOT_EXECUTED = (
    "Not executed. Memory was planned for Anubhav's trainer, which shards frozen weights over data;",
    "Megatron keeps a copy of those outside of the experts on every data rank, so try it small first.",
)


def megatron_bridge(plan: Plan) -> str:
    """Overrides of a recipe's ConfigContainer."""
    return _yaml(
        (*_NOT_EXECUTED, "Overrides for a Megatron-Bridge recipe's ConfigContainer."),
        {
            "model": {**_parallel(plan), "sequence_parallel": plan.best.layout.tp > 1, "pipeline_dtype": "bfloat16"},
            "peft": {"dim": plan.question.adapter.rank, **_lora(plan)},
            "train": {"global_batch_size": plan.question.load.batch, "micro_batch_size": 1},
            "dataset": {"seq_length": plan.question.load.sequence},
        },
    )


def verl(plan: Plan) -> str:
    """Overrides of verl's ppo_megatron_trainer."""
    return _yaml(
        (*_NOT_EXECUTED, "Overrides for verl.trainer.main_ppo --config-name=ppo_megatron_trainer."),
        {
            "trainer": _nodes(plan, "nnodes", "n_gpus_per_node"),
            "data": {"train_batch_size": plan.question.load.batch},
            "actor_rollout_ref": {
                "model": {
                    "path": _path(plan),
                    "lora": {"type": "lora", "rank": plan.question.adapter.rank, **_lora(plan)},
                },
                "actor": {
                    "ppo_micro_batch_size_per_gpu": 1,
                    "megatron": {
                        "use_mbridge": True,
                        "vanilla_mbridge": False,
                        **_parallel(plan),
                        "sequence_parallel": plan.best.layout.tp > 1,
                    },
                },
            },
        },
    )


def skyrl(plan: Plan) -> str:
    """Overrides of SkyRL's training configuration."""
    adapter = plan.question.adapter
    layout = "SkyRL has no key for the layout of experts: Megatron-Bridge's own, tied, is what it trains."
    return _yaml(
        (*_NOT_EXECUTED, *([layout] if plan.adapters["tied"] != plan.adapters["per-expert"] else [])),
        {
            "trainer": {
                "strategy": "megatron",
                "placement": _nodes(plan, "policy_num_nodes", "policy_num_gpus_per_node"),
                "train_batch_size": plan.question.load.batch,
                "micro_train_batch_size_per_gpu": 1,
                "policy": {
                    "model": {
                        "path": _path(plan),
                        "lora": {"rank": adapter.rank, "alpha": 32, "target_modules": _targets(plan)},
                    },
                    "megatron_config": {**_parallel(plan), "lora_config": {"lora_type": "lora", "merge_lora": False}},
                },
            }
        },
    )


def _parallel(plan: Plan) -> dict[str, int]:
    layout = plan.best.layout
    return {
        "tensor_model_parallel_size": layout.tp,
        "pipeline_model_parallel_size": layout.pp,
        "context_parallel_size": layout.sp,
        "expert_model_parallel_size": layout.ep,
        "expert_tensor_parallel_size": 1 if layout.ep > 1 else layout.tp,
    }


def _lora(plan: Plan) -> dict[str, Any]:
    experts = plan.question.adapter.experts
    return {
        "alpha": 32,
        "target_modules": _targets(plan),
        "normalize_moe_lora": experts == "rank-normalised",
        "share_expert_adapters": experts == "tied",
        "experts_shared_outer_loras": experts == "shared-outer",
    }


def _targets(plan: Plan) -> list[str]:
    tinker = plan.question.adapter.targets == "tinker"
    latent = _LATENT_TINKER if tinker else _LATENT
    return [*(latent if plan.latent else _GROUPED_HEADS), *_MLP]


def _nodes(plan: Plan, nodes: str, cards: str) -> dict[str, int]:
    here = min(plan.question.hardware.node, plan.question.gpus)
    return {nodes: plan.question.gpus // here, cards: here}


def _path(plan: Plan) -> str:
    name = plan.question.model
    return REPOSITORIES.get(name.lower()) or str(Path(name).expanduser().absolute())


def _yaml(comments: tuple[str, ...], tree: Mapping[str, Any]) -> str:
    return "\n".join([*(f"# {line}" for line in comments), *_lines(tree, ""), ""])


def _lines(tree: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            inner: dict[str, Any] = value
            lines += [f"{indent}{key}:", *_lines(inner, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return lines
