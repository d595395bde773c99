"""Training over Tinker's wire: create, forward_backward, optim_step, save, load. Each answers with a promise."""

import hashlib
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Depends, Request

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.flows.passes import complete
from anubhav.http.auth import Keyring, needs, principal
from anubhav.http.description import takes
from anubhav.http.relay import RELAYED
from anubhav.http.tinker import bodies, legacy, proto
from anubhav.http.tinker.numbered import Numbered
from anubhav.types.ids import RunId
from anubhav.types.models import Principal
from anubhav.types.operations import Compute, Create, Load, Operation, Save, Step
from anubhav.types.training import LoraSpec, OptimParams

router = APIRouter(prefix="/api/v1", route_class=Numbered, dependencies=[Depends(needs("train"))])


async def house_of(request: Request) -> House:
    return request.app.state.house


@router.post("/create_model")
async def create_model(
    body: bodies.CreateModel, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    run = run_id(body.session_id, body.model_seq_id)
    operation = Create(body.base_model, _spec(body.lora_config, _family(body.optimizer_config), run))
    promise = await house.desk.submit(who.tenant, run, 0, operation, metadata=bodies.texts(body.user_metadata))
    return {"request_id": promise, "model_id": run}


@router.post("/forward_backward", openapi_extra=takes(proto.CONTENT_TYPE, "application/json"))
@router.post("/forward", openapi_extra=takes(proto.CONTENT_TYPE, "application/json"))
async def forward_backward(
    request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    body = await request.body()
    if request.headers.get("content-type", "").startswith(proto.CONTENT_TYPE):
        asked = proto.read_forward_backward(body)
    else:
        asked = legacy.read_pass(body, backward=not request.url.path.endswith("/forward"))
    work = await complete(house, who.tenant, asked.work, asked.origins, asked.sources)
    return await _submit(house, who, asked.run, asked.seq, Compute(work))


@router.post("/optim_step")
async def optim_step(
    body: bodies.OptimStep, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    params = body.adam_params or body.optimizer_params
    if params is None:
        raise BadInput("optim_step came without parameters", hint="Send AdamParams or DimuonParams.")
    family = "adamw" if params.type == "adam" else params.type
    step = Step(OptimParams(**params.model_dump(exclude={"type"}), family=family))
    return await _submit(house, who, RunId(body.model_id), body.seq_id, step)


@router.post("/save_weights")
async def save_weights(
    body: bodies.SaveWeights, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    save = Save(
        "weights",
        body.path or f"seq-{body.seq_id}",
        body.overwrite,
        ttl=body.ttl_seconds,
        metadata=_metadata(body.user_metadata),
    )
    return await _submit(house, who, RunId(body.model_id), body.seq_id, save)


@router.post("/save_weights_for_sampler")
async def save_weights_for_sampler(
    body: bodies.SaveForSampler, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    if body.kind == "inflight" and body.path is not None:
        raise BadInput("An inflight save has no name", hint="Leave path out, or use kind snapshot.")
    name = body.path or f"seq-{body.seq_id}"
    save = Save("sampler_weights", name, ttl=body.ttl_seconds, metadata=_metadata(body.user_metadata))
    if body.path is None:
        if body.sampling_session_seq_id is None:
            raise BadInput("Neither path nor sampling_session_seq_id was given", hint="Send one of them.")
        session = body.model_id.partition(":train:")[0]
        opened = f"{session}:sample:{body.sampling_session_seq_id}"
        save = replace(save, sampler=opened, inflight=body.kind == "inflight")
    return await _submit(house, who, RunId(body.model_id), body.seq_id, save)


@router.post("/save_weights_external")
async def save_weights_external(
    body: bodies.SaveExternal, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    recipients = tuple(body.age_encryption_recipients or ())
    save = Save("external_weights", body.path, ttl=body.ttl_seconds, recipients=recipients)
    return await _submit(house, who, RunId(body.model_id), body.seq_id, save)


@router.post("/unload_model")
async def unload_model(
    body: bodies.OfModel, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """Of SDKs before 0.26: the run ends here."""
    run = RunId(body.model_id)
    return {"request_id": await house.desk.unload(who.tenant, run), "model_id": run}


@router.post("/load_weights")
async def load_weights(
    body: bodies.LoadWeights,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    reader = await reader_of(request, who, body.weights_access_token)
    family = _family(body.optimizer_config) if body.optimizer_config else None
    load = Load(body.path, body.optimizer, family, None if reader is who else reader.tenant)
    if body.model_id is not None and body.seq_id is not None:
        return await _submit(house, who, RunId(body.model_id), body.seq_id, load)
    if body.session_id is None or body.model_seq_id is None:
        raise BadInput("load_weights names no run", hint="Send model_id and seq_id, or session_id and model_seq_id.")
    if body.base_model:
        await _check_base(house, reader, body.path, body.base_model)
    run = run_id(body.session_id, body.model_seq_id)
    promise = await house.desk.submit(who.tenant, run, 0, load, metadata=bodies.texts(body.user_metadata))
    return {"request_id": promise, "model_id": run}


@router.post("/get_info")
async def get_info(
    body: bodies.OfModel, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    """A client on this machine gets the tokenizer's folder; others find it by name, with HF_ENDPOINT at this server."""
    run = await house.desk.run(who.tenant, RunId(body.model_id))
    near = request.client is not None and request.client.host in ("127.0.0.1", "::1")
    near = near and request.headers.get(RELAYED, "near") == "near"
    tokenizer = str(house.models[run.base_model].folder.absolute()) if near else None
    return {
        "type": "get_info",
        "model_data": {"arch": "transformer", "model_name": run.base_model, "tokenizer_id": tokenizer},
        "model_id": run.id,
        "model_name": run.base_model,
        "is_lora": True,
        "lora_rank": run.spec.rank,
        "optimizer_config": optimizer_config(run.spec),
    }


async def reader_of(request: Request, who: Principal, token: str | None) -> Principal:
    """As whom weights are read: the access token of somebody else's is a key of theirs."""
    keyring: Keyring = request.app.state.keyring
    return await keyring.check(token) if token else who


def run_id(session: str, number: int) -> RunId:
    """The id the SDK computes on its own side."""
    return RunId(f"{session}:train:{number}")


def optimizer_config(spec: LoraSpec) -> dict[str, Any]:
    """The SDK's form of a run's optimizer."""
    return {"type": spec.optimizer} | ({"version": 1} if spec.optimizer == "dimuon" else {})


def _metadata(given: dict[str, Any] | None) -> dict[str, str] | None:
    return None if given is None else bodies.texts(given)


async def _submit(house: House, who: Principal, run: RunId, seq: int, operation: Operation) -> dict[str, Any]:
    return {"request_id": await house.desk.submit(who.tenant, run, seq, operation), "model_id": run}


def _spec(config: bodies.LoraConfig, family: str, run: RunId) -> LoraSpec:
    """Without a seed the run's (random) id gives one, so that a repeated request asks for the same adapter."""
    seed = config.seed
    if seed is None:
        seed = int.from_bytes(hashlib.sha256(run.encode()).digest()[:4], "little")
    return LoraSpec(
        rank=config.rank,
        seed=seed,
        train_attn=config.train_attn,
        train_mlp=config.train_mlp,
        train_unembed=config.train_unembed,
        optimizer=family,
    )


def _family(config: bodies.Optimizer) -> str:
    if config.version != 1:
        raise BadInput(f"{config.type[:50]} has no version {config.version}", hint="Ask for version 1.")
    return config.type


async def _check_base(house: House, who: Principal, path: str, base_model: str) -> None:
    checkpoint = await house.desk.checkpoints.find(who.tenant, path)
    if checkpoint.base_model != base_model:
        raise BadInput(
            f"{path[:200]} was trained from {checkpoint.base_model}, not from {base_model[:200]}",
            hint="Leave base_model out.",
        )
