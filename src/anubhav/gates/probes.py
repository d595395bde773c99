"""Probes: those an operator sealed for an alias, and the guard that every candidate has to pass."""

import json
import time
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from anubhav.store import experience
from anubhav.store.database import Connection, Database
from anubhav.types.chat import Message
from anubhav.types.experience import Probe


class ProbeShelf:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, probes: Iterable[Probe]) -> None:
        """All or none; a probe with a known id replaces the old one."""
        now, found = time.time(), list(probes)

        def keep(connection: Connection) -> None:
            for probe in found:
                experience.add_probe(connection, probe, now)

        await self._database.run(keep)

    async def of(self, alias: str) -> list[Probe]:
        return await self._database.run(lambda c: experience.probes_of(c, alias))


@cache
def guard() -> tuple[Probe, ...]:
    """Held-out text and unrelated questions: what a lap must leave as good as it was."""
    raw = json.loads(files("anubhav.gates").joinpath("guard.json").read_text())
    texts = [
        Probe(f"pr_text_{number}", "guard-text", "likelihood", (Message("user", ask),), text)
        for number, (ask, text) in enumerate(raw["texts"])
    ]
    questions = [
        Probe(f"pr_question_{number}", "guard-questions", "contains", (Message("user", ask),), expected)
        for number, (ask, expected) in enumerate(raw["questions"])
    ]
    return (*texts, *questions)
