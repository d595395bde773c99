"""The demo's users: everything they do goes through the public HTTP API, and each kind of call is shown once."""

import json
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from anubhav.cli.laps import describe, watch
from anubhav.cli.remote import Remote
from anubhav.errors import Broken

_AT_ONCE = 48
_WIDTH = 150


@dataclass(frozen=True, slots=True)
class Reply:
    id: str
    texts: tuple[str, ...]


Question = str | list[dict[str, str]]
"""What a user writes, or a whole conversation that ends with it."""


class Caller:
    def __init__(self, url: str, key: str, seed: int) -> None:
        self._remote = Remote(url, key, timeout=300)
        self._random = random.Random(seed)
        self._shown: set[str] = set()

    def new_scene(self) -> None:
        """Show each kind of call once more."""
        self._shown.clear()

    def ask(
        self,
        alias: str,
        questions: Sequence[Question],
        label: str,
        *,
        n: int = 1,
        temperature: float = 0.0,
        tokens: int,
    ) -> list[Reply]:
        """Ask every question of what `alias` answers with now; the replies come in the order of the questions."""
        bodies: list[dict[str, Any]] = [
            {
                "model": f"{alias}@stable",
                "messages": [{"role": "user", "content": question}] if isinstance(question, str) else question,
                "temperature": temperature,
                "max_tokens": tokens,
                "seed": self._random.randrange(2**31),
                "n": n,
            }
            for question in questions
        ]
        self._show("POST /v1/chat/completions", bodies[0])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = pool.map(partial(self._remote.post, "/v1/chat/completions"), bodies)
            return [_reply(answer) for answer in _progress(answers, len(bodies), label)]

    def judge(self, feedback: Sequence[dict[str, Any]]) -> None:
        self._show("POST /v1/feedback", feedback[0])
        self._remote.post("/v1/feedback", feedback)

    def seal(self, alias: str, probes: Sequence[dict[str, Any]]) -> None:
        """Register test items that no lap may train on."""
        self._show("POST /v1/probes", {"alias": alias, "probes": [probes[0], "…"]})
        self._remote.post("/v1/probes", {"alias": alias, "probes": probes})

    def learn(self, alias: str) -> dict[str, Any]:
        """One lap, watched to its end. Raises Broken, saying why, when it came to no verdict."""
        self._show("POST /v1/laps", {"alias": alias})
        lap: str = self._remote.post("/v1/laps", {"alias": alias})["id"]
        done = watch(self._remote, lap)
        if done["verdict"] is None:
            raise Broken(describe(done), hint="The server's log says more; --data-dir keeps it.")
        return done

    def releases(self) -> list[dict[str, Any]]:
        return self._remote.get("/v1/releases", limit=100)["data"]

    def _show(self, address: str, body: object) -> None:
        if address not in self._shown:
            self._shown.add(address)
            text = f"  $ {address} {json.dumps(body, ensure_ascii=False)}"
            click.secho(text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…", dim=True)


def _reply(answer: dict[str, Any]) -> Reply:
    return Reply(answer["id"], tuple(choice["message"]["content"] for choice in answer["choices"]))


def _progress(answers: Iterable[Any], length: int, label: str) -> Iterable[Any]:
    with click.progressbar(answers, length=length, label=f"  {label}", show_eta=False) as bar:
        yield from bar
