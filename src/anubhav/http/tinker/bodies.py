"""The JSON bodies of Tinker's requests. Older SDKs leave out defaults and `type` fields, newer ones add fields, so
missing and unknown fields are fine; wrong types and NaN are not.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from anubhav.types.arrays import Dtype

Seq = Annotated[int, Field(ge=0, lt=1 << 62)]
Name = Annotated[str, Field(min_length=1, max_length=500)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


def texts(metadata: dict[str, Any] | None) -> dict[str, str]:
    """Metadata as the SDK reads it back: texts under texts."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in (metadata or {}).items()}


class CreateSession(Body):
    tags: list[str] = []
    user_metadata: dict[str, Any] | None = None
    sdk_version: str = ""


class Heartbeat(Body):
    session_id: Name


class FinishReason(Body):
    type: Annotated[str, Field(max_length=100)] = "success"


class Finish(Body):
    reason: FinishReason = FinishReason()


class LoraConfig(Body):
    rank: int
    seed: int | None = None
    train_unembed: bool = True
    train_mlp: bool = True
    train_attn: bool = True


class Optimizer(Body):
    type: str = "adamw"


class CreateModel(Body):
    session_id: Name
    model_seq_id: Seq
    base_model: Name
    user_metadata: dict[str, Any] | None = None
    lora_config: LoraConfig
    optimizer_config: Optimizer = Optimizer()


class OfModel(Body):
    model_id: Name


class Chunk(Body):
    tokens: list[int] | None = None


class ModelInput(Body):
    chunks: list[Chunk]


class TensorData(Body):
    data: list[int] | list[float]
    dtype: Dtype
    shape: list[int] | None = None
    sparse_crow_indices: list[int] | None = None
    sparse_col_indices: list[int] | None = None


class DatumBody(Body):
    model_input: ModelInput
    loss_fn_inputs: dict[str, TensorData]


class PassInput(Body):
    data: list[DatumBody]
    loss_fn: Name
    loss_fn_config: dict[str, float] | None = None


class ForwardBackward(Body):
    """Of `/forward_backward` and, in older SDKs, `/forward`."""

    model_id: Name
    seq_id: Seq
    forward_backward_input: PassInput | None = None
    forward_input: PassInput | None = None


class AdamParams(Body):
    type: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-12
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0


class OptimStep(OfModel):
    seq_id: Seq
    adam_params: AdamParams | None = None
    optimizer_params: AdamParams | None = None


class SaveWeights(OfModel):
    """`ttl_seconds` is not honoured: checkpoints stay until they are deleted."""

    seq_id: Seq
    path: str | None = None
    overwrite: bool = False


class SaveForSampler(OfModel):
    seq_id: Seq
    path: str | None = None
    sampling_session_seq_id: Seq | None = None
    kind: str = "snapshot"


class LoadWeights(Body):
    """Into a run (model_id, seq_id), or as the birth of one (session_id, model_seq_id)."""

    path: Name
    optimizer: bool
    model_id: Name | None = None
    seq_id: Seq | None = None
    session_id: Name | None = None
    model_seq_id: Seq | None = None
    base_model: Name | None = None
    user_metadata: dict[str, Any] | None = None
    optimizer_config: Optimizer | None = None


class CreateSampler(Body):
    session_id: Name
    sampling_session_seq_id: Seq
    base_model: Name | None = None
    model_path: Name | None = None


class SamplingParamsBody(Body):
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | None = None
    stop: str | list[str] | list[int] | None = None
    temperature: Annotated[float, Field(ge=0, le=1000)] = 1.0
    top_k: Annotated[int, Field(ge=-1)] = -1
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class Sample(Body):
    prompt: ModelInput
    sampling_params: SamplingParamsBody
    sampling_session_id: Name
    seq_id: Seq
    num_samples: Annotated[int, Field(ge=1, le=1024)] = 1
    prompt_logprobs: bool | None = None
    topk_prompt_logprobs: Annotated[int, Field(ge=0, le=100)] = 0
    topk_sample_logprobs: Annotated[int, Field(ge=0, le=100)] = 0
    target_prompt_logprobs: Any = None
    prompt_alt_tokens_k: int = 0
    prompt_logprobs_last_n: int | None = None


class RetrieveFuture(Body):
    request_id: Name


class WeightsInfo(Body):
    tinker_path: Name
