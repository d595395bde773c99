"""An adapter merged into a model that transformers computes: read and written by transformers, since the names in a
folder's files need not be those of the modules.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anubhav.backends.torch.models.foreign_attention import load_transformers


@torch.no_grad()
def save_merged(
    base: Path, to: Path, factors: Mapping[str, tuple[Tensor, Tensor]], scale: float, *, untied: bool
) -> None:
    """Weights and config. `factors` are by the name of the weight they add to, in fp32, rounded once."""
    net: Any = load_transformers().AutoModelForCausalLM.from_pretrained(
        base, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    if untied:
        net.config.tie_word_embeddings = False
        head = net.get_output_embeddings()
        head.weight = nn.Parameter(head.weight.clone())
    for name, (a, b) in factors.items():
        weight = net.get_parameter(name)
        weight.copy_(weight.float().addmm(b, a, alpha=scale))
    net.save_pretrained(to)
