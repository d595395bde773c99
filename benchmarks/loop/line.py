"""The line to the server: everything the simulated people and their operator do goes over HTTP, as clients do it."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2

from benchmarks.loop.people.task import Item

_AT_ONCE = 32
_PATIENCE = 1800
_POLL_SECONDS = 0.5
_A_BATCH = 1000


class Refused(Exception):
    """The server said no, with its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Asked:
    """One request for replies."""

    item: Item
    model: str
    tokens: int
    n: int = 1
    temperature: float = 0.0
    seed: int = 0
    user: str | None = None
    session: str | None = None
    kept: bool = True
    """False: the server records nothing of it."""


@dataclass(frozen=True)
class Reply:
    id: str
    texts: tuple[str, ...]


class Line:
    def __init__(self, url: str, key: str) -> None:
        limits = httpx2.Limits(max_connections=_AT_ONCE + 4)
        self.url, self.key = url, key
        self._client = httpx2.Client(
            base_url=url, headers={"x-api-key": key}, timeout=_PATIENCE, trust_env=False, limits=limits
        )
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    def close(self) -> None:
        self._pool.shutdown()
        self._client.close()

    def ask(self, asked: Sequence[Asked], key: str | None = None) -> list[Reply]:
        """In the order of the questions, many at once; `key` is another tenant's."""
        return list(self._pool.map(partial(self._ask, key), asked))

    def _ask(self, key: str | None, one: Asked) -> Reply:
        body = {
            "model": one.model,
            "messages": one.item.chat(),
            "temperature": one.temperature,
            "max_tokens": one.tokens,
            "n": one.n,
            "seed": one.seed,
            **({"user": one.user} if one.user else {}),
            **({} if one.kept else {"store": False}),
        }
        headers = {**({"x-session-id": one.session} if one.session else {}), **({"x-api-key": key} if key else {})}
        answer = self.call("POST", "/v1/chat/completions", body, headers=headers)
        return Reply(answer["id"], tuple(choice["message"]["content"] or "" for choice in answer["choices"]))

    def judge(self, feedback: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(feedback), _A_BATCH):
            self.call("POST", "/v1/feedback", list(feedback[start : start + _A_BATCH]))

    def seal(self, alias: str, probes: Sequence[dict[str, Any]]) -> None:
        if probes:
            self.call("POST", "/v1/probes", {"alias": alias, "probes": list(probes)})

    def learn(self, alias: str) -> dict[str, Any]:
        """A lap, watched to its end; Refused where there is nothing to learn from."""
        lap = self.call("POST", "/v1/laps", {"alias": alias})
        while lap["state"] in ("running", "paused", "queued"):
            time.sleep(_POLL_SECONDS)
            lap = self.call("GET", f"/v1/laps/{lap['id']}")
        return lap

    def stable(self, alias: str) -> str | None:
        """The path of what the alias answers with now; None is the base model."""
        for release in self.call("GET", "/v1/releases?live=true&limit=500")["data"]:
            if release["alias"] == alias:
                return release["path"]
        return None

    def base_model(self) -> str:
        return self.call("GET", "/healthz")["models"][0]

    def used(self, tenant: str) -> int:
        """Tokens that a tenant trained, sampled or had read today, by the server's own meter."""
        return self.call("GET", f"/v1/quotas/{tenant}")["used"]["tokens_today"]

    def new_tenant(self, name: str) -> str:
        return self.call("POST", "/v1/keys", {"tenant": name, "note": "benchmark"})["key"]

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        for wait in (0.5, 1, 2, 4, 8, 16, 30, None):
            response = self._client.request(method, path, json=body, headers=headers)
            # Neither was begun: the request may be sent again.
            if response.status_code not in (429, 503) or wait is None:
                break
            time.sleep(wait)
        if response.is_success:
            return response.json()
        try:
            said = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = response.text[:200]
        raise Refused(response.status_code, str(said))
