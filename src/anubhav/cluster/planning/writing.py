"""The plan as files: all of it as JSON, where its ranks go, and the same layout for other engines.

`cluster.json` is what places a trainer: a bundle of cards for each node, the ranks of each bundle, the layout.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anubhav.cluster.planning.engines import megatron_bridge, skyrl, verl
from anubhav.cluster.planning.plan import Plan
from anubhav.cluster.planning.report import describe
from anubhav.errors import BadInput

FORMAT = 1
_KINDS = {
    "tied": "tied",
    "per-expert": "per_expert",
    "shared-outer": "shared_outer",
    "rank-normalised": "normalised",
}
"""As the sharded trainer calls them."""


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


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
