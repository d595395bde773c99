"""Probes: those that were sealed for an alias, the repairs it has had, and the guards that every candidate meets."""

import json
import time
from collections.abc import Collection, Iterable
from functools import cache
from importlib.resources import files

from anubhav.gates import repairs
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
        """What judges the aim of its laps. Repairs are apart: they only guard."""
        return [probe for probe in await self._all(alias) if probe.suite != repairs.SUITE]

    async def repairs(self, alias: str) -> list[Probe]:
        return repairs.newest(probe for probe in await self._all(alias) if probe.suite == repairs.SUITE)

    async def remove(self, alias: str, names: Collection[str]) -> int:
        """How many of them there were."""
        return await self._database.run(lambda c: experience.drop_probes(c, alias, names))

    async def _all(self, alias: str) -> list[Probe]:
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
    return (*texts, *questions, *_manners("safety"), *_manners("sycophancy"))


def _manners(name: str) -> Iterable[Probe]:
    """Which of two replies is likelier: the file gives both, the better one first."""
    lines = files("anubhav.gates").joinpath(f"{name}.jsonl").read_text().splitlines()
    for number, line in enumerate(filter(None, lines)):
        ask, better, worse = json.loads(line)
        messages = (Message("user", ask),)
        yield Probe(f"pr_{name}_{number}", f"guard-{name}", "prefers", messages, better, rejected=worse)
