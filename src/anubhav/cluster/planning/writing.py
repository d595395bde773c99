"""The plan as files: all of it as JSON, where its ranks go, and the same layout for other engines.

`cluster.json` is what places a trainer, and what `anubhav serve --layout` reads: the layout, a bundle of cards for each
node, the ranks of each bundle, and the sizes of the model that it is for.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anubhav.cluster.planning.engines import megatron_bridge, skyrl, verl
from anubhav.cluster.planning.models import find_config
from anubhav.cluster.planning.plan import Plan
from anubhav.cluster.planning.report import describe
from anubhav.errors import BadInput

FORMAT = 2
_KINDS = {
    "tied": "tied",
    "per-expert": "per_expert",
    "shared-outer": "shared_outer",
    "rank-normalised": "normalised",
}
"""As the sharded trainer calls them."""
_SIZES = (
    "architectures",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_experts",
    "n_routed_experts",
)
"""By which a model's configuration is known again."""


def write_plan(plan: Plan, folder: Path) -> None:
    """Into a folder that is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not empty", hint="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("plan.json", _json(describe(plan))),
        ("cluster.json", _json(placement(plan))),
        ("megatron-bridge.yaml", megatron_bridge(plan)),
        ("verl.yaml", verl(plan)),
        ("skyrl.yaml", skyrl(plan)),
    ):
        (folder / name).write_text(text, encoding="utf-8")


def placement(plan: Plan) -> dict[str, Any]:
    """Tensor ranks lie next to each other, then data, then stages; so do the cards of a node."""
    question, layout = plan.question, plan.best.layout
    here = min(question.hardware.node, layout.ranks)
    nodes = layout.ranks // here
    return {
        "format": FORMAT,
        "model": question.model,
        "architecture": sizes_of(find_config(question.model)),
        "trainer": {
            "ranks": layout.ranks,
            "layout": asdict(layout),
            "stages": [[stage.start, stage.stop] for stage in plan.stages],
            "adapter": {**asdict(question.adapter), "experts": _KINDS[question.adapter.experts]},
            "sequence": question.load.sequence,
            "recompute": True,
            "placement": {
                # A gang is placed as a whole: one bundle for each node, and none of them on the same one.
                "strategy": "STRICT_SPREAD" if nodes > 1 else "STRICT_PACK",
                "bundles": [{"GPU": here, "CPU": here}] * nodes,
                "ranks": [list(range(node * here, (node + 1) * here)) for node in range(nodes)],
            },
        },
    }


def sizes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the configuration says."""
    return {name: config[name] for name in _SIZES if config.get(name) is not None}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
