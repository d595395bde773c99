"""Pipeline stages beside every other axis.

transformers cuts a model into stages too, but takes its plans for the other axes before the cut, which then name what
is not there, and it refuses FSDP and token dispatch beside it. Here the model is cut first, and what is left of it is
sharded as a model of one stage over the stage's own ranks.
"""

from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from transformers.distributed import DistributedConfig
from transformers.distributed.pipeline_parallel import PipelineIdentityLayer, apply_pipeline_parallelism
from transformers.distributed.utils import TransformersDeviceMesh

from anubhav.cluster.layout import Layout


def staged(model_class: Any, layout: Layout, device: torch.device) -> Any:
    """The class as each rank should load it: only the layers of its stage, sharded over the ranks of that stage."""

    def prepare(_: Any, parallel: DistributedConfig, device_map: Any = None) -> tuple[Any, torch.device, Any]:
        return parallel, device, _mesh(layout, device)

    def distribute(_: Any, model: Any, parallel: DistributedConfig, mesh: TransformersDeviceMesh) -> Any:
        apply_pipeline_parallelism(model, mesh.get_mesh("pp"))
        # Its own way through the stages has no backward pass.
        del model.forward
        return model_class.maybe_distribute_model(model, parallel, mesh)

    def resolve(model: Any, parallel: DistributedConfig) -> tuple[dict[str, str], ...]:
        tensors, experts, weights = (
            _here(model, plan) for plan in super(found, model)._resolve_parallel_plans(parallel)
        )
        # Each part is run by itself, not within the whole, so none is kept gathered for a neighbour.
        return tensors, experts, dict.fromkeys(weights, "free_full_weight")

    own = {
        "prepare_distribute_model": classmethod(prepare),
        "maybe_distribute_model": classmethod(distribute),
        "_resolve_parallel_plans": resolve,
    }
    found: Any = type(model_class.__name__, (model_class,), own)
    return found


def _here(model: Any, plan: dict[str, str]) -> dict[str, str]:
    """Without the modules of other stages, in whose places stand identities."""
    absent = {name for name, module in model.named_modules() if isinstance(module, PipelineIdentityLayer)}
    return {name: style for name, style in plan.items() if name not in absent}


def _mesh(layout: Layout, device: torch.device) -> TransformersDeviceMesh:
    """As transformers makes it, with replicas of nothing."""
    copies = layout.stage_ranks // layout.ep
    dense = (layout.pp, 1, layout.fsdp, layout.tp)
    experts = (layout.pp, 1, copies, layout.ep)
    return TransformersDeviceMesh(
        init_device_mesh(device.type, dense, mesh_dim_names=("pp", "dp_replicate", "fsdp", "tp")),
        init_device_mesh(device.type, experts, mesh_dim_names=("pp", "dp_replicate", "efsdp", "ep")),
    )
