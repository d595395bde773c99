"""Sampling over Tinker's wire: sampling sessions on a base model or a checkpoint, and samples from them."""

import itertools
from typing import Any, cast

from fastapi import APIRouter, Depends

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.legacy import read_tokens
from anubhav.http.tinker.training import house_of
from anubhav.serving.asks import Ask, Targets
from anubhav.serving.sessions import sequence_ids
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("sample"))])


@router.post("/create_sampling_session")
async def create_sampling_session(
    body: bodies.CreateSampler, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    if not (body.base_model or body.model_path):
        raise BadInput("Neither base_model nor model_path was given", hint="Send one of them.")
    sampler = await house.sampling.open(
        who.tenant, body.session_id, body.sampling_session_seq_id, base_model=body.base_model, path=body.model_path
    )
    return {"type": "create_sampling_session", "sampling_session_id": sampler}


@router.get("/samplers/{sampler}")
async def get_sampler(
    sampler: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await house.sampling.find(who.tenant, sampler)
    return {"sampler_id": sampler, "base_model": found.base_model, "model_path": found.path}


@router.post("/join_sampling_session")
async def join_sampling_session(
    body: bodies.JoinSampler, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    counter = await house.sampling.join(who.tenant, body.sampling_session_id)
    return {"type": "join_sampling_session", "client_counter": counter}


@router.post("/asample")
async def asample(
    body: bodies.Sample, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """The sequence ids are fixed here, one a sample, as newer SDKs take them from this answer."""
    promise = await house.sampling.submit(who.tenant, body.sampling_session_id, body.seq_id, _read(body))
    return {"request_id": promise, "sample_sequence_ids": sequence_ids(promise, body.num_samples)}


def _read(body: bodies.Sample) -> Ask:
    params = body.sampling_params
    stop = (params.stop,) if isinstance(params.stop, str) else params.stop
    return Ask(
        prompt=read_tokens(body.prompt),
        n=body.num_samples,
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        seed=params.seed,
        stop=None if stop is None else cast("tuple[str, ...] | tuple[int, ...]", tuple(stop)),
        prompt_logprobs=bool(body.prompt_logprobs),
        top_prompt_logprobs=body.topk_prompt_logprobs,
        prompt_last=body.prompt_logprobs_last_n,
        targets=_read_targets(body.target_prompt_logprobs) if body.target_prompt_logprobs else None,
        prompt_draws=body.prompt_alt_tokens_k,
        top_logprobs=body.topk_sample_logprobs,
        recorded=bool(body.record_stability_info),
    )


def _read_targets(tensor: bodies.TensorData) -> Targets:
    """Raises BadInput for what is no int64 matrix, dense or CSR."""
    shape, cells = tensor.shape or [], len(tensor.data)
    whole = all(isinstance(token, int) for token in tensor.data)
    if tensor.dtype != "int64" or not whole or len(shape) != 2 or min(shape) < 0:
        raise BadInput("target_prompt_logprobs is no int64 matrix", hint="Send shape [len(prompt) - 1, K].")
    tokens = tuple(cast("list[int]", tensor.data))
    starts, columns = tensor.sparse_crow_indices, tensor.sparse_col_indices
    if starts is None and columns is None:
        if cells != shape[0] * shape[1]:
            raise BadInput("target_prompt_logprobs does not fit its shape", hint="Send one value per cell.")
        return Targets((shape[0], shape[1]), tokens)
    starts, columns = starts or [], columns or []
    rising = all(before <= after for before, after in itertools.pairwise(starts))
    if len(starts) != shape[0] + 1 or not rising or (starts[0], starts[-1], len(columns)) != (0, cells, cells):
        raise BadInput("target_prompt_logprobs has row pointers that do not fit", hint="Send a valid CSR matrix.")
    if not all(0 <= column < shape[1] for column in columns):
        raise BadInput("target_prompt_logprobs has a column outside its shape", hint="Check sparse_col_indices.")
    return Targets((shape[0], shape[1]), tokens, tuple(starts), tuple(columns))
