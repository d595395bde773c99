"""What `GET /openapi.json` says of all faces: their bodies, who may ask, how a refusal looks, what is no plain JSON.

Answers are described as they are made, as objects: what is in them is for each dialect's own pages to say. Addresses
that are there once more, for clients whose base URLs end otherwise, are described once.
"""

from importlib.metadata import version
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel

from anubhav.http.auth import COOKIE, is_public

Told = dict[int | str, dict[str, Any]]
"""Answers by their status, as routes take them."""
_ABOUT = """One address for every client. OpenAI's API is also there under `/oai/api/v1`, Anthropic's under
`/anthropic/v1` and `/anthropic/api/v1`, Tinker's under whatever path a base URL has before `/api/v1`. A key's scopes
say what it may do."""
_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of the pages, after signing in."},
}


class Complaint(BaseModel):
    message: str
    type: str
    param: str | None
    code: str
    hint: str


class Refusal(BaseModel):
    """The one shape of an error, for all clients at once."""

    type: Literal["error"]
    detail: str
    error: Complaint
    request_id: str


class Faces(FastAPI):
    """FastAPI, which describes all of this house and not only its routes."""

    def __init__(self) -> None:
        super().__init__(
            title="Anubhav",
            version=version("anubhav"),
            description=_ABOUT,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            responses={
                "4XX": {"model": Refusal, "description": "Refused: the message and its hint say why and what to do"},
                "5XX": {"model": Refusal, "description": "The server cannot do it, or not now"},
            },
        )

    def openapi(self) -> dict[str, Any]:
        described = super().openapi()
        if "security" not in described:
            described["components"]["securitySchemes"] = _SCHEMES
            described["security"] = [{name: []} for name in _SCHEMES]
            for path, operations in described["paths"].items():
                for method, operation in operations.items():
                    if is_public(method.upper(), path.translate(_PLAIN)):
                        operation["security"] = []
        return described


_PLAIN = str.maketrans("", "", "{}")


def tells(*kinds: str, status: int = 200, why: str = "") -> Told:
    """An answer in one of these media types."""
    content = {kind: {"schema": _SCHEMAS.get(kind, {"type": "string"})} for kind in kinds}
    return {status: {"content": content} | ({"description": why} if why else {})}


def takes(*kinds: str, required: bool = True) -> dict[str, Any]:
    """For a route's `openapi_extra`: a body that the route reads by itself."""
    content = {kind: {"schema": _SCHEMAS.get(kind, {"type": "string"})} for kind in kinds}
    return {"requestBody": {"content": content, "required": required}}


_BINARY = {"type": "string", "format": "binary"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "application/json": {"type": "object"},
    "application/x-protobuf": _BINARY,
    "application/octet-stream": _BINARY,
    "application/gzip": _BINARY,
    "multipart/form-data": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]},
}
