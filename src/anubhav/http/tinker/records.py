"""What lies here, over Tinker's wire: training runs, and checkpoints to list, share, copy, let expire and delete."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.tinker import bodies
from anubhav.http.tinker.legacy import is_older
from anubhav.http.tinker.training import house_of, optimizer_config, reader_of, run_id
from anubhav.training.copies import Copy
from anubhav.training.desk import RunInfo
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.ids import RunId
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("read", "train"))])
Limit = Query(default=20, ge=0, le=1000)
Offset = Query(default=0, ge=0)
_TYPES = {"weights": "training", "sampler_weights": "sampler", "external_weights": "external"}
_CHECKPOINT = "/training_runs/{run}/checkpoints/{kind}/{name}"


@router.get("/training_runs")
async def list_runs(
    limit: int = Limit,
    offset: int = Offset,
    project_id: str | None = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    runs = await house.desk.runs(who.tenant, project_id)
    shown = [_run(run) for run in runs[offset : offset + limit]]
    return {"training_runs": shown, "cursor": {"offset": offset, "limit": limit, "total_count": len(runs)}}


@router.get("/training_runs/{run}")
async def get_run(run: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> dict[str, Any]:
    found = await house.desk.run(who.tenant, RunId(run))
    checkpoints = await house.desk.checkpoints.list(who.tenant, found.id)
    newest = {_TYPES[one.path.kind]: _checkpoint(one) for one in sorted(checkpoints, key=lambda one: one.created_at)}
    return _run(found) | {"last_checkpoint": newest.get("training"), "last_sampler_checkpoint": newest.get("sampler")}


@router.get("/training_runs/{run}/checkpoints")
async def list_run_checkpoints(
    run: str, request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await house.desk.run(who.tenant, RunId(run))
    known = _known(request, await house.desk.checkpoints.list(who.tenant, found.id))
    return {"checkpoints": [_checkpoint(one) for one in known]}


@router.delete(_CHECKPOINT, status_code=204, dependencies=[Depends(needs("train"))])
async def delete_checkpoint(
    run: str, kind: str, name: str, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> Response:
    await house.desk.checkpoints.delete(who.tenant, f"tinker://{run}/{kind}/{name}")
    return Response(status_code=204)


@router.post(f"{_CHECKPOINT}/publish", status_code=204, dependencies=[Depends(needs("train"))])
@router.delete(f"{_CHECKPOINT}/publish", status_code=204, dependencies=[Depends(needs("train"))])
async def publish(
    run: str,
    kind: str,
    name: str,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Response:
    public = request.method == "POST"
    await house.desk.checkpoints.share(who.tenant, f"tinker://{run}/{kind}/{name}", public=public)
    return Response(status_code=204)


@router.put(f"{_CHECKPOINT}/ttl", status_code=204, dependencies=[Depends(needs("train"))])
async def set_ttl(
    run: str,
    kind: str,
    name: str,
    body: bodies.Ttl,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Response:
    await house.desk.checkpoints.set_ttl(who.tenant, f"tinker://{run}/{kind}/{name}", body.ttl_seconds)
    return Response(status_code=204)


@router.post("/copy_weights", dependencies=[Depends(needs("train"))])
async def copy_weights(
    body: bodies.CopyWeights,
    request: Request,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
    x_idempotency_key: str | None = Header(default=None, max_length=200),
    x_tinker_weights_access_token: str | None = Header(default=None, max_length=600),
) -> dict[str, Any]:
    if (body.session_id is None) != (body.model_seq_id is None):
        raise BadInput("A slot needs session_id and model_seq_id", hint="Send both, or neither.")
    reader = await reader_of(request, who, x_tinker_weights_access_token)
    source = await house.desk.checkpoints.find(reader.tenant, body.source_path)
    slot = None if body.session_id is None else run_id(body.session_id, body.model_seq_id or 0)
    wanted = Copy(who.tenant, source.path, x_idempotency_key, slot, body.destination_project_id, body.ttl_seconds)
    return {"tinker_path": await house.desk.copy(wanted)}


@router.get("/checkpoints")
async def list_checkpoints(
    request: Request,
    limit: int = Limit,
    offset: int = Offset,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> dict[str, Any]:
    found = _known(request, await house.desk.checkpoints.list(who.tenant, None))
    shown = [_checkpoint(one) for one in found[offset : offset + limit]]
    return {"checkpoints": shown, "cursor": {"offset": offset, "limit": limit, "total_count": len(found)}}


@router.post("/weights_info")
async def weights_info(
    body: bodies.WeightsInfo, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    found = await house.desk.checkpoints.find(who.tenant, body.tinker_path)
    return {
        "base_model": found.base_model,
        "is_lora": True,
        "lora_rank": found.spec.rank,
        "train_unembed": found.spec.train_unembed,
        "train_mlp": found.spec.train_mlp,
        "train_attn": found.spec.train_attn,
        "optimizer_config": optimizer_config(found.spec),
    }


def _run(run: RunInfo) -> dict[str, Any]:
    return {
        "training_run_id": run.id,
        "base_model": run.base_model,
        "model_owner": run.tenant,
        "is_lora": True,
        "lora_rank": run.spec.rank,
        "last_request_time": _time(run.used_at),
        "user_metadata": dict(run.metadata),
    }


def _known(request: Request, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """SDKs before 0.30 refuse a whole list with external weights in it."""
    narrow = is_older(request, 0, 30)
    return [one for one in checkpoints if not (narrow and one.path.kind == "external_weights")]


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "checkpoint_id": f"{checkpoint.path.kind}/{checkpoint.path.name}",
        "checkpoint_type": _TYPES[checkpoint.path.kind],
        "time": _time(checkpoint.created_at),
        "tinker_path": str(checkpoint.path),
        "size_bytes": checkpoint.size_bytes,
        "public": checkpoint.public,
        "user_metadata": None if checkpoint.metadata is None else dict(checkpoint.metadata),
        "expires_at": None if checkpoint.expires_at is None else _time(checkpoint.expires_at),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
