"""The JSON bodies of Tinker's requests. Older SDKs leave out defaults and `type` fields, newer ones add fields, so
missing and unknown fields are fine; wrong types and NaN are not.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

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
    project_id: Name | None = None
    display_name: Name | None = None


class Heartbeat(Body):
    session_id: Name


class FinishReason(Body):
    type: Annotated[str, Field(max_length=100)] = "success"


class Finish(Body):
    reason: FinishReason = FinishReason()
    detail: Annotated[str, Field(max_length=10_000)] | None = None


class LoraConfig(Body):
    rank: int
    seed: int | None = None
    train_unembed: bool = True
    train_mlp: bool = True
    train_attn: bool = True


class Optimizer(Body):
    """The family a run is created with. Which ones there are, and which versions, is for the training room to say."""

    type: str = "adamw"
    version: int = 1


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
    loss_fn_config: dict[str, float | str] | None = None


class ForwardBackward(Body):
    """Of `/forward_backward` and, in older SDKs, `/forward`."""

    model_id: Name
    seq_id: Seq
    forward_backward_input: PassInput | None = None
    forward_input: PassInput | None = None


class LossInput(Body):
    name: Annotated[str, Field(max_length=100)]
    rank: Annotated[int, Field(ge=0, le=2)]


class LossNode(Body):
    """Of a traced loss: the training room says which operations and arguments there may be."""

    op: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(max_length=200)]
    target: Annotated[str, Field(max_length=200)]
    args: Annotated[list[Any], Field(max_length=1000)] = []
    kwargs: Annotated[dict[str, Any], Field(max_length=100)] = {}


class LossGraphBody(Body):
    format: Literal[1] = 1
    nodes: list[LossNode]


class CreateCustomLoss(Body):
    session_id: Name
    custom_loss_seq_id: Seq
    name: Name
    inputs: list[LossInput]
    graph: LossGraphBody


class StepParams(Body):
    """Of whatever family `type` names; each reads its own fields."""

    type: str = "adamw"
    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-12
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0


class OptimStep(OfModel):
    seq_id: Seq
    adam_params: StepParams | None = None
    optimizer_params: StepParams | None = None


class SaveWeights(OfModel):
    seq_id: Seq
    path: str | None = None
    overwrite: bool = False
    ttl_seconds: int | None = None
    user_metadata: dict[str, Any] | None = None


class SaveForSampler(OfModel):
    seq_id: Seq
    path: str | None = None
    sampling_session_seq_id: Seq | None = None
    kind: Literal["snapshot", "inflight"] = "snapshot"
    ttl_seconds: int | None = None
    user_metadata: dict[str, Any] | None = None


class SaveExternal(OfModel):
    seq_id: Seq
    path: str
    ttl_seconds: int | None = None
    age_encryption_recipients: list[str] | None = None


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
    weights_access_token: Annotated[str, Field(max_length=600)] | None = None


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
    target_prompt_logprobs: TensorData | None = None
    prompt_alt_tokens_k: Annotated[int, Field(ge=0, le=1024)] = 0
    prompt_logprobs_last_n: int | None = None
    record_stability_info: bool | None = None


class JoinSampler(Body):
    sampling_session_id: Name


class RetrieveFuture(Body):
    request_id: Name


class FeedTarget(Body):
    type: Literal["sampling_session"] = "sampling_session"
    sampling_session_id: Name
    cloned_sampler_id: Annotated[int, Field(ge=0, le=1 << 32)] = 0


class RetrieveFutures(Body):
    """`timeout` None: as long as the server likes; 0: at once, it only tells what was fetched."""

    target: FeedTarget
    prev_cursor: Seq = 0
    timeout: Annotated[float, Field(ge=0)] | None = None
    retrieved_request_ids: Annotated[list[Name], Field(max_length=100_000)] = []


class WeightsInfo(Body):
    tinker_path: Name


class Ttl(Body):
    ttl_seconds: int | None


class CopyWeights(Body):
    """Into a slot of a session (session_id, model_seq_id), or into a session of its own."""

    source_path: Name
    destination_project_id: Name | None = None
    session_id: Name | None = None
    model_seq_id: Seq | None = None
    ttl_seconds: int | None = None


class Interpolate(Body):
    """MinT's: a weighted sum of checkpoints, for sampling."""

    source_paths: Annotated[list[Name], Field(min_length=1, max_length=64)]
    coefficients: list[float]
    output_path: Name | None = None
    output_checkpoint_type: Literal["sampler"] = "sampler"


class PlainTensor(Body):
    """Of MinT's toolkit: flat values; the shape and the dtype that come with them say nothing more."""

    data: list[int] | list[float] | float


class ReverseKLDatum(Body):
    student_input: ModelInput
    reference_input: ModelInput
    target_tokens: PlainTensor
    weights: PlainTensor


class ReverseKL(OfModel):
    """MinT's: a pass of the reverse KL from a checkpoint."""

    reference_model_path: Name
    data: list[ReverseKLDatum]
    temperature: float = 1.0
    seq_id: Seq | None = None


class Project(Body):
    project_id: Name


class SearchOwner(Body):
    type: Literal["own", "accessible", "user"] = "own"
    owner_urns: list[str] = []


class SearchStatus(Body):
    type: Literal["active", "cancelled", "failed", "client_finished"]
    reasons: list[str] | None = None


class SearchCursor(Body):
    last_created_at: Annotated[AwareDatetime, Field(strict=False)]
    last_session_id: Name


class SearchSessions(Body):
    session_id: Name | None = None
    project_ids: list[str] | None = None
    user_metadata: dict[str, str] = {}
    display_name: Name | None = None
    owner: SearchOwner = SearchOwner()
    statuses: list[SearchStatus] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: SearchCursor | None = None
