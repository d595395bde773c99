"""Sampling over Tinker's wire: sampling sessions on a base model or a checkpoint, and samples from them."""

from typing import Any, cast

from fastapi import APIRouter, Depends

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.legacy import read_tokens
from anubhav.http.tinker.training import house_of
from anubhav.serving.sessions import Ask
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1")


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


@router.post("/asample")
async def asample(
    body: bodies.Sample, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """The sequence ids are fixed here, one a sample, as newer SDKs take them from this answer."""
    _refuse_unsupported(body)
    promise = await house.sampling.submit(who.tenant, body.sampling_session_id, body.seq_id, _read(body))
    return {"request_id": promise, "sample_sequence_ids": [f"{promise}:{index}" for index in range(body.num_samples)]}


def _refuse_unsupported(body: bodies.Sample) -> None:
    for name in ("target_prompt_logprobs", "prompt_alt_tokens_k", "prompt_logprobs_last_n"):
        if getattr(body, name):
            raise BadInput(f"{name} is not in this build", hint="Leave it out.")


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
        top_logprobs=body.topk_sample_logprobs,
    )
