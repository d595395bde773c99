"""Files in OpenAI's shapes: uploaded as a multipart form, listed by page, read and deleted by their owner."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Response, UploadFile

from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import tells
from anubhav.http.entrance import house_of
from anubhav.types.models import Principal
from anubhav.types.tuning import Purpose, Upload

router = APIRouter(dependencies=[Depends(needs("train", "sample", "read"))])
Json = dict[str, Any]
Asked = Literal["fine-tune", "batch", "user_data", "assistants", "vision", "evals"]
Cursor = Annotated[str | None, Query(max_length=200)]


@router.post("/files", dependencies=[Depends(needs("train", "sample"))])
async def create_file(
    file: Annotated[UploadFile, File()],
    purpose: Annotated[Asked, Form()],
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]")] = None,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    data = await file.read()
    return file_json(await house.uploads.add(who.tenant, file.filename or "file", purpose, data, ttl=seconds))


@router.get("/files")
async def list_files(
    purpose: Annotated[Purpose | None, Query()] = None,
    after: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
) -> Json:
    found = await house.uploads.page(who.tenant, purpose, after, limit + 1, newest=order == "desc")
    return page_json([file_json(one) for one in found], limit)


@router.get("/files/{file}")
async def get_file(file: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    return file_json(await house.uploads.find(who.tenant, file))


@router.get("/files/{file}/content", response_class=Response, responses=tells("application/octet-stream"))
async def get_content(file: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Response:
    found = await house.uploads.find(who.tenant, file)
    # Never as a page: whoever wrote it would speak in this server's name.
    return Response(await house.uploads.read(found.digest), media_type="application/octet-stream")


@router.delete("/files/{file}", dependencies=[Depends(needs("train", "sample"))])
async def delete_file(file: str, house: House = Depends(house_of), who: Principal = Depends(principal)) -> Json:
    await house.uploads.delete(who.tenant, file)
    return {"id": file, "object": "file", "deleted": True}


def file_json(upload: Upload) -> Json:
    return {
        "id": upload.id,
        "object": "file",
        "bytes": upload.size,
        "created_at": int(upload.created_at),
        "expires_at": None if upload.expires_at is None else int(upload.expires_at),
        "filename": upload.name,
        "purpose": upload.purpose,
        "status": "processed",
    }


def page_json(found: Sequence[Json], limit: int) -> Json:
    """A page of at most `limit`; what was found beyond it tells that there is more."""
    data = found[:limit]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": len(found) > limit}
