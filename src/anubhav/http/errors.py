"""The one table of status codes, and the one shape of an error on the wire.

The body serves every client at once: `detail` is what Tinker's command line prints, `error` what the OpenAI SDK reads,
`type` beside it what Anthropic's does, `request_id` is what the log has. Permanent failures are never 409 or 5xx where
the Tinker SDK speaks: it repeats a request that met one for five minutes, and a sample or the wait for a result for
ever.
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from anubhav.errors import (
    AnubhavError,
    BadInput,
    Broken,
    Busy,
    EndedToken,
    Gone,
    Mismatch,
    MissingPart,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Spent,
    TooLarge,
    Unavailable,
)

log = logging.getLogger(__name__)


class UnknownEncoding(BadInput):
    """A Content-Encoding this server does not read."""


class Malformed(BadInput):
    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.param = param


class WrongMethod(BadInput):
    """The address exists, for another method."""


STATUSES: dict[type[AnubhavError], tuple[int, str]] = {
    BadInput: (400, "invalid_request_error"),
    MissingPart: (400, "invalid_request_error"),
    NotAuthenticated: (401, "authentication_error"),
    # Not 402: on that the SDK waits for an hour.
    Spent: (403, "insufficient_quota"),
    NotAllowed: (403, "permission_error"),
    NotFound: (404, "not_found_error"),
    WrongMethod: (405, "invalid_request_error"),
    Gone: (410, "gone_error"),
    TooLarge: (413, "invalid_request_error"),
    UnknownEncoding: (415, "invalid_request_error"),
    Mismatch: (422, "invalid_request_error"),
    Busy: (429, "rate_limit_error"),
    Broken: (500, "server_error"),
    AnubhavError: (500, "server_error"),
    Unavailable: (503, "server_error"),
}


_SDK, _FINAL = "/api/v1/", 424
"""Where the Tinker SDK speaks, and what is said there instead of 500: what the answer depends on has failed."""


def status_of(error: AnubhavError) -> tuple[int, str]:
    """The HTTP status and the `error.type` of the nearest class in the table."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def body_of(error: AnubhavError, request_id: str) -> dict[str, Any]:
    return {
        "type": "error",
        "detail": str(error),
        "error": {
            "message": str(error),
            "type": status_of(error)[1],
            "param": error.param if isinstance(error, Malformed) else None,
            "code": type(error).__name__,
            "hint": error.hint,
        },
        "request_id": request_id,
    }


def answer(error: AnubhavError, request_id: str, path: str) -> JSONResponse:
    """`path`: what was asked for, without a prefix."""
    status = status_of(error)[0]
    headers: dict[str, str] = {}
    if isinstance(error, Busy):
        headers = {"retry-after": f"{max(1, round(error.retry_after))}", "x-should-retry": "true"}
    elif status == 500:
        status, headers = _FINAL if path.startswith(_SDK) else 500, {"x-should-retry": "false"}
    elif status == 503:
        headers = {"retry-after": "1"}
    elif status == 401:
        # So marked (RFC 6750), the SDK exchanges its key for another token once and repeats the request.
        mark = 'Bearer error="invalid_token"' if isinstance(error, EndedToken) else "Bearer"
        headers = {"www-authenticate": mark}
    return JSONResponse(body_of(error, request_id), status, headers)


def broken(problem: BaseException, request_id: str, path: str = "") -> JSONResponse:
    """What a client sees of an error nobody foresaw; the log has the rest under the same request id."""
    log.error("request %s failed", request_id, exc_info=problem)
    failure = Broken("The server failed on this request", hint=f"Its log has details for {request_id}.")
    return answer(failure, request_id, path)


def install(app: FastAPI) -> None:
    @app.exception_handler(AnubhavError)
    async def _(request: Request, error: AnubhavError) -> JSONResponse:
        if status_of(error)[0] == 500:
            log.error("request %s failed", request.state.request_id, exc_info=error)
        return answer(error, request.state.request_id, request.scope["path"])

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(malformed(error), request.state.request_id, request.scope["path"])

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        return answer(_plain(error, request), request.state.request_id, request.scope["path"])


def malformed(error: RequestValidationError) -> Malformed:
    """The first three complaints, with their places but without the values."""
    places = [
        (".".join(str(part) for part in found["loc"] if part != "body"), str(found["msg"]))
        for found in error.errors()[:3]
    ]
    message = "; ".join(f"{place}: {text}" if place else text for place, text in places)
    return Malformed(
        message or "The body cannot be read",
        hint="Correct the request; it will not succeed as it is.",
        param=places[0][0] if places else None,
    )


def _plain(error: HTTPException, request: Request) -> AnubhavError:
    asked = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 404:
        return NotFound(f"There is nothing at {asked}", hint="Check the address and the base URL.")
    if error.status_code == 405:
        return WrongMethod(f"{asked} is not possible", hint="Another method is expected at this address.")
    if error.status_code >= 500:
        return Broken("The server failed on this request")
    return BadInput(str(error.detail), hint="Correct the request; it will not succeed as it is.")
