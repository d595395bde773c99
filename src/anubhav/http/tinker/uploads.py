"""MinT's additions to Tinker's wire that make checkpoints: an upload, which is a multipart form with the archive in
`file` and perhaps `base_model` and `name` beside it, and the weighted sum of checkpoints there are.
"""

from email.message import Message
from email.parser import BytesHeaderParser
from io import BytesIO
from typing import Any

from fastapi import APIRouter, Depends, Header, Request

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.http.auth import needs, principal
from anubhav.http.description import takes
from anubhav.http.tinker import bodies
from anubhav.http.tinker.training import house_of
from anubhav.training.blends import Blend
from anubhav.training.imports import Import
from anubhav.types.models import Principal

router = APIRouter(prefix="/api/v1", dependencies=[Depends(needs("train"))])
_HINT = "Send multipart/form-data with the .tar.gz in the field file."


@router.post("/checkpoints/upload", openapi_extra=takes("multipart/form-data"))
async def upload(
    request: Request, house: House = Depends(house_of), who: Principal = Depends(principal)
) -> dict[str, Any]:
    form = read_form(request.headers.get("content-type", ""), await request.body())
    if "file" not in form:
        raise BadInput("The form has no file", hint=_HINT)
    base, name = (bytes(form.get(field, b"")).decode("utf-8", "replace") for field in ("base_model", "name"))
    path = await house.desk.imports.take(Import(who.tenant, name or "imported", base or None), BytesIO(form["file"]))
    return {"path": str(path), "checkpoint_id": f"{path.kind}/{path.name}"}


@router.post("/mint/checkpoints/interpolate")
async def interpolate(
    body: bodies.Interpolate,
    house: House = Depends(house_of),
    who: Principal = Depends(principal),
    x_idempotency_key: str | None = Header(default=None, max_length=200),
) -> dict[str, Any]:
    shares, name = tuple(body.coefficients), body.output_path or "interpolated"
    wanted = Blend(who.tenant, tuple(body.source_paths), shares, name, x_idempotency_key)
    return {"request_id": await house.desk.blends.make(wanted)}


def read_form(content_type: str, body: bytes) -> dict[str, memoryview]:
    """The parts of a multipart form by their names, each a view into the body."""
    head = Message()
    head["content-type"] = content_type
    boundary = head.get_boundary()
    if head.get_content_type() != "multipart/form-data" or not boundary:
        raise BadInput("The body is no multipart form", hint=_HINT)
    line = b"--" + boundary.encode("latin-1", "replace")
    if not body.startswith(line):
        raise BadInput("The form does not begin with its boundary", hint=_HINT)
    form: dict[str, memoryview] = {}
    start = len(line)
    while body[start : start + 2] == b"\r\n":
        headers = body.find(b"\r\n\r\n", start)
        end = body.find(b"\r\n" + line, max(headers, start) + 2)
        if headers < 0 or end < 0:
            raise BadInput("The form is cut off", hint=_HINT)
        part = BytesHeaderParser().parsebytes(body[start + 2 : headers])
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str):
            form[name] = memoryview(body)[min(headers + 4, end) : end]
        start = end + 2 + len(line)
    return form
