"""Clients that give feedback, one that waits and one to be awaited. Both repeat what did not get through; the id that
each judgement has makes sure that it counts once."""

import asyncio
import importlib
import os
import random
import time
from typing import Any, cast

from anubhav import errors
from anubhav.errors import AnubhavError, BadInput, Unavailable
from anubhav.feedback import wording
from anubhav.feedback.showing import card, place
from anubhav.feedback.wording import Json, Receipt, Reply

_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_RAISED = {400: BadInput, 401: errors.NotAuthenticated, 403: errors.NotAllowed, 404: errors.NotFound,
           413: errors.TooLarge, 422: BadInput}  # fmt: skip
_LONGEST_WAIT = 30.0
_LOCAL = "http://127.0.0.1:8000"


def _http() -> Any:
    try:
        return importlib.import_module("httpx2")
    except ModuleNotFoundError:
        return importlib.import_module("httpx")


class _Client:
    """Where it goes, and what an answer means."""

    def __init__(self, base_url: str | None, api_key: str | None, retries: int) -> None:
        url = base_url or os.environ.get("ANUBHAV_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or _LOCAL
        key = api_key or os.environ.get("ANUBHAV_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
        if not url.startswith(("http://", "https://")):
            raise BadInput(f"{url[:200]!r} is no address of a server", hint="Give base_url, as http://host:8000.")
        # The address that OpenAI's client has ends in a version.
        root = url.rstrip("/").removesuffix("/v1").removesuffix("/oai/api")
        self._url = f"{root}/v1/feedback"
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._retries = retries
        http = _http()
        self._unreached: tuple[type[Exception], ...] = (http.TransportError,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {place(self._url)}>"

    def _repr_html_(self) -> str:
        key = "given" if self._headers else "none: set ANUBHAV_API_KEY"
        return card(type(self).__name__, {"server": place(self._url), "key": key})

    def _read(self, response: Any) -> Receipt:
        """Raises the error of our tree that the server's answer stands for."""
        try:
            answer: Any = response.json()
        except ValueError:
            answer = None
        known = cast(Json, answer) if isinstance(answer, dict) else {}
        if response.is_success and {"id", "episode", "status"} <= known.keys():
            return Receipt(known["id"], known["episode"], known["status"])
        error = cast(Json, known.get("error")) if isinstance(known.get("error"), dict) else {}
        kind = errors.Mismatch if error.get("code") == "Mismatch" else _RAISED.get(response.status_code, Unavailable)
        hint = str(error.get("hint") or "")
        said = str(error.get("message") or f"The server answered {response.status_code}")
        raise kind(said.removesuffix(hint).rstrip(" ."), hint=hint)

    def _pause(self, attempt: int, response: Any = None) -> float:
        asked = response.headers.get("retry-after", "") if response is not None else ""
        usual = min(0.25 * 2**attempt, 8.0) * (0.75 + 0.5 * random.random())
        return min(float(asked), _LONGEST_WAIT) if asked.replace(".", "", 1).isdecimal() else usual

    def _lost(self, problem: Exception) -> AnubhavError:
        return Unavailable(
            f"No server answers at {place(self._url)} ({type(problem).__name__})",
            hint="Give base_url, or set ANUBHAV_BASE_URL. The same feedback can be given again: it counts once.",
        )


class Feedback(_Client):
    """`rater` names who judges; without one it counts as the reply's user, else its session. `id` is the judgement's
    own: without one it is made of the content, so saying the same again changes nothing, even after the opposite."""

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, timeout: float = 30.0, retries: int = 5
    ) -> None:
        super().__init__(base_url, api_key, retries)
        self._http = _http().Client(timeout=timeout, headers=self._headers)

    def thumbs(self, reply: Reply, *, up: bool, rater: str | None = None, id: str | None = None) -> Receipt:
        return self._send(wording.thumb(reply, up), rater, id)

    def rate(self, reply: Reply, value: float, *, rater: str | None = None, id: str | None = None) -> Receipt:
        """From 0 (bad) to 1 (good)."""
        return self._send(wording.rating(reply, value), rater, id)

    def correct(self, reply: Reply, text: str, *, rater: str | None = None, id: str | None = None) -> Receipt:
        """`text`: what it should have said."""
        return self._send(wording.correction(reply, text), rater, id)

    def compare(
        self, a: Reply, b: Reply, better: wording.Side, *, rater: str | None = None, id: str | None = None
    ) -> Receipt:
        return self._send(wording.comparison(a, b, better), rater, id)

    def outcome(
        self,
        reply: Reply | None = None,
        *,
        name: str,
        value: float,
        session: str | None = None,
        rater: str | None = None,
        id: str | None = None,
    ) -> Receipt:
        """What came of a reply, or of the last main reply of a session, from 0 to 1."""
        return self._send(wording.outcome(reply, session, name, value), rater, id)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Feedback":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, body: Json, rater: str | None, name: str | None) -> Receipt:
        body = wording.signed(body, rater, name)
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._http.post(self._url, json=body)
            except self._unreached as problem:
                if last:
                    raise self._lost(problem) from problem
                time.sleep(self._pause(attempt))
                continue
            if response.status_code not in _AGAIN or last:
                return self._read(response)
            time.sleep(self._pause(attempt, response))
        raise AssertionError("the last attempt returns or raises")


class AsyncFeedback(_Client):
    """As `Feedback`, to be awaited."""

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, timeout: float = 30.0, retries: int = 5
    ) -> None:
        super().__init__(base_url, api_key, retries)
        self._http = _http().AsyncClient(timeout=timeout, headers=self._headers)

    async def thumbs(self, reply: Reply, *, up: bool, rater: str | None = None, id: str | None = None) -> Receipt:
        return await self._send(wording.thumb(reply, up), rater, id)

    async def rate(self, reply: Reply, value: float, *, rater: str | None = None, id: str | None = None) -> Receipt:
        return await self._send(wording.rating(reply, value), rater, id)

    async def correct(self, reply: Reply, text: str, *, rater: str | None = None, id: str | None = None) -> Receipt:
        return await self._send(wording.correction(reply, text), rater, id)

    async def compare(
        self, a: Reply, b: Reply, better: wording.Side, *, rater: str | None = None, id: str | None = None
    ) -> Receipt:
        return await self._send(wording.comparison(a, b, better), rater, id)

    async def outcome(
        self,
        reply: Reply | None = None,
        *,
        name: str,
        value: float,
        session: str | None = None,
        rater: str | None = None,
        id: str | None = None,
    ) -> Receipt:
        return await self._send(wording.outcome(reply, session, name, value), rater, id)

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncFeedback":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, body: Json, rater: str | None, name: str | None) -> Receipt:
        body = wording.signed(body, rater, name)
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = await self._http.post(self._url, json=body)
            except self._unreached as problem:
                if last:
                    raise self._lost(problem) from problem
                await asyncio.sleep(self._pause(attempt))
                continue
            if response.status_code not in _AGAIN or last:
                return self._read(response)
            await asyncio.sleep(self._pause(attempt, response))
        raise AssertionError("the last attempt returns or raises")
