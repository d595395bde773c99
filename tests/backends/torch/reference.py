"""What transformers says of a model with an adapter: factors are added to its weights, and autograd does the rest."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import AutoModelForCausalLM

from anubhav.types.training import Datum

_EXPERT = re.compile(r"(.*\.mlp\.experts)\.(\d+)\.(gate|up|down)_proj")


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def adapted(model: Any, factors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The model's weights with PEFT-named factors added, differentiably by the factors."""
    known = dict(model.named_parameters())
    stacks: dict[str, dict[int, dict[str, Tensor]]] = {}
    found: dict[str, Tensor] = {}
    for name, a in factors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        delta = scale * factors[name.replace("lora_A", "lora_B")] @ a
        module = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        if expert := _EXPERT.fullmatch(module):
            container, number, part = expert.groups()
            stacks.setdefault(container, {}).setdefault(int(number), {})[part] = delta
        elif module == "lm_head":
            found["lm_head.weight"] = model.lm_head.weight.detach() + delta
        else:
            found[f"{module}.weight"] = known[f"{module}.weight"].detach() + delta
    for container, parts in stacks.items():
        gate_up = torch.stack([torch.cat([parts[n]["gate"], parts[n]["up"]]) for n in sorted(parts)])
        down = torch.stack([parts[n]["down"] for n in sorted(parts)])
        for name, delta in (("gate_up_proj", gate_up), ("down_proj", down)):
            found[f"{container}.{name}"] = known[f"{container}.{name}"].detach() + delta
    return found


def logprobs(model: Any, datum: Datum, weights: Mapping[str, Tensor]) -> Tensor:
    """Of the datum's targets."""
    tied = {"tie_weights": False} if "lm_head.weight" in weights else {}
    out = functional_call(model, dict(weights), (torch.tensor([datum.tokens]),), {"use_cache": False}, **tied)
    targets = torch.tensor(datum.inputs["target_tokens"].tolist())
    return out.logits[0].log_softmax(-1).gather(-1, targets[:, None])[:, 0]
