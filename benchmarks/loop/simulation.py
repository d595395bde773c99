"""The simulation itself: days of talk, a lap each night, and after it the truth about every method."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.loop import days
from benchmarks.loop.days import Town
from benchmarks.loop.exam import Exam, Marks
from benchmarks.loop.lifts import true_lift
from benchmarks.loop.line import Line, Refused
from benchmarks.loop.methods.rivals import NOTHING, TENANT, Rival, open_rivals
from benchmarks.loop.people.raters import Attack, draw_raters, share
from benchmarks.loop.people.task import Item
from benchmarks.loop.people.tasks import draw_tasks
from benchmarks.loop.records import Record, corrections
from benchmarks.stand.processes import note

_HOUSE = "anubhav"
"""The tenant whose meter counts what laps train."""
_BUDGET = 60_000
"""Tokens for a rival's night when our lap had nothing to learn from."""
WORSE = 0.01
"""A promotion that truly loses more than this was wrong."""


@dataclass(frozen=True)
class Plan:
    """What is simulated; with the seed it draws everything."""

    seed: int
    laps: int
    tasks: tuple[str, ...]
    noise: float = 0.0
    hostile: float = 0.0
    lazy: float = 0.2
    people: int = 20
    attack: Attack | None = None
    methods: tuple[str, ...] = ()
    pace: str = "full"
    exam: float = 1.0
    """Share of the held-out items that are asked."""
    alias: str = "default"
    holdback: float = 0.0

    def town(self) -> Town:
        tasks = draw_tasks(self.tasks, self.seed, self.laps, self.pace)
        raters = draw_raters(self.seed, self.people, self.lazy, self.attack, hostile=self.hostile > 0)
        return Town(self.seed, tasks, raters, self.noise, self.hostile)


@dataclass
class Repairs:
    """What people corrected and the alias then said right: does it still?"""

    known: dict[Item, None] = field(default_factory=dict[Item, None])
    repaired: dict[Item, str] = field(default_factory=dict[Item, str])
    """With the reply that was right. Where the truth has changed since, it is no repair any more."""

    def look(self, exam: Exam, voice: str, model: str, day: int) -> dict[str, Any]:
        """Ask everything that was ever corrected. What is right now and was not counted before is a new repair."""
        said = dict(zip(self.known, exam.say(voice, model, list(self.known)), strict=True))
        right = {item: text for item, text in said.items() if exam.is_right(item, text, day)}
        self.repaired = {item: text for item, text in self.repaired.items() if exam.is_right(item, text, day)}
        kept = sum(item in right for item in self.repaired)
        found = {"earlier": len(self.repaired), "kept": kept, "right_now": len(right)}
        self.repaired |= right
        return found


class Clock:
    """Where a day's time goes."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()
        self.parts: dict[str, float] = {}

    def tick(self, part: str) -> None:
        """What went by since the last tick was this part."""
        now = time.monotonic()
        self.parts[part] = round(self.parts.get(part, 0.0) + now - self._last, 1)
        self._last = now

    @property
    def seconds(self) -> float:
        return round(self._last - self._started, 1)


@dataclass
class Simulation:
    plan: Plan
    line: Line
    town: Town
    exam: Exam
    rivals: dict[str, Rival]
    repairs: Repairs = field(default_factory=Repairs)
    records: list[Record] = field(default_factory=list[Record])
    table: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def open(cls, plan: Plan, line: Line, folder: Path) -> "Simulation":
        town = plan.town()
        rivals: dict[str, Rival] = {}
        if plan.methods:
            rivals = open_rivals(plan.methods, line, line.new_tenant(TENANT), line.base_model(), folder)
        return cls(plan, line, town, Exam(line, town.tasks, plan.seed, plan.exam), rivals)

    def run(self) -> None:
        if self.plan.holdback:
            hold_back(self.line, self.plan.alias, self.plan.holdback)
        for day in range(1, self.plan.laps + 1):
            row = self._day(day)
            self.table.append(row)
            note(
                f"lap {day}: {row['outcome']}, success {row['base_success']:.2f} → {row['success']:.2f}, "
                f"win rate {row['win_rate']:.2f}, {row['seconds']:.0f} s {row['seconds_of']}"
            )

    def _day(self, day: int) -> dict[str, Any]:
        clock = Clock()
        for task in self.town.tasks:
            self.line.seal(self.plan.alias, task.probes(day))
        records = days.live(self.line, self.town, self.plan.alias, day)
        self.records += records
        self.repairs.known |= {item: None for item, _ in corrections(records)}
        clock.tick("talk")
        before = self._marks(day)
        lifted = true_lift(self.line, self.town, self.plan.alias, day) if self.plan.holdback else None
        clock.tick("exam")
        lap, spent = self._night()
        clock.tick("lap")
        after = self._marks(day)
        base = self.exam.mark("base", self.line.base_model(), day)
        voice = self._voice()
        row = {
            "lap": day,
            "state": lap["state"],
            "outcome": lap["outcome"] or lap["state"],
            "why": (lap["verdict"] or {}).get("reason", lap["phase"]),
            "promoted": after[0] != before[0],
            "feedback": days.count(records),
            "hostile_share": round(share(days.by_kind(records, self.town)), 3),
            "base_success": base.success,
            "success_before": before[1].success,
            "success": after[1].success,
            "by_task": {name: after[1].of(name) for name in after[1].by_task},
            "base_by_task": {name: base.of(name) for name in base.by_task},
            "true_lift": lifted,
            "win_rate": after[1].win_rate(base),
            "test_items": after[1].items,
            "deceived": self.exam.deceived(voice, f"{self.plan.alias}@stable", day),
            "general": self.exam.general(voice, f"{self.plan.alias}@stable"),
            "base_general": self.exam.general("base", self.line.base_model()),
            "truly_worse": after[0] != before[0] and after[1].success < before[1].success - WORSE,
            "repairs": self.repairs.look(self.exam, voice, f"{self.plan.alias}@stable", day),
            "lap_tokens": spent,
            "lap_report": _brief(lap),
        }
        clock.tick("exam")
        row["baselines"] = self._rival_nights(day, records, spent or _BUDGET)
        clock.tick("rivals")
        return {**row, "seconds": clock.seconds, "seconds_of": clock.parts}

    def _voice(self) -> str:
        """The name of what the alias speaks with now."""
        return self.line.stable(self.plan.alias) or "base"

    def _marks(self, day: int) -> tuple[str, Marks]:
        voice = self._voice()
        return voice, self.exam.mark(voice, f"{self.plan.alias}@stable", day)

    def _night(self) -> tuple[dict[str, Any], int]:
        """The lap, and the tokens it trained by the server's meter."""
        before = self.line.used(_HOUSE)
        try:
            lap = self.line.learn(self.plan.alias)
        except Refused as refusal:
            if refusal.status >= 500:
                raise
            lap = {"state": "refused", "outcome": None, "verdict": None, "phase": str(refusal)}
        # The meter begins anew at midnight.
        return lap, max(0, self.line.used(_HOUSE) - before)

    def _rival_nights(self, day: int, records: Sequence[Record], budget: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, rival in self.rivals.items():
            rival.learn(day, records, budget, self.plan.seed * 1000 + day)
            found[name] = self._examine(rival, name, day)
        return found

    def _examine(self, rival: Rival, name: str, day: int) -> dict[str, Any]:
        """Under the rivals' own key: their checkpoints are nobody else's."""
        voice, model, key = "base", self.line.base_model(), None
        if rival.path is not None:
            voice, model, key = f"{name}:{rival.path}", rival.path, rival.key
        marks = self.exam.mark(voice, model, day, key)
        return {
            "success": marks.success,
            "general": self.exam.general(voice, model, key),
            "by_task": {task: marks.of(task) for task in marks.by_task},
            **rival.told(),
        }


def _brief(lap: dict[str, Any]) -> dict[str, Any]:
    """What the lap tells of itself, without the verdict, whose reason stands beside it."""
    told: dict[str, Any] = lap.get("report") or {}
    return {name: value for name, value in told.items() if name not in ("verdict", "span", "release")}


def hold_back(line: Line, alias: str, part: float) -> None:
    """Let the frozen base answer this share of the people, as an operator does. Raises SystemExit where it cannot."""
    path = f"/v1/release-policies/{alias}"
    try:
        before = line.call("GET", path)["policy"]
        wanted = {name: value for name, value in before.items() if name != "since"}
        line.call("PUT", path, {**wanted, "holdback": round(100 * part)})
    except Refused as refusal:
        raise SystemExit(f"No holdback: {path} answered {refusal}") from refusal


def baselines(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The last night's true success of every method we are compared with."""
    last = table[-1]
    return {NOTHING: last["base_success"], **{name: told["success"] for name, told in last["baselines"].items()}}


def general(table: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What everybody still knows of common questions after the last night."""
    last = table[-1]
    told = {name: found["general"] for name, found in last["baselines"].items()}
    return {"ours": last["general"], NOTHING: last["base_general"], **told}


def kept(table: Sequence[dict[str, Any]]) -> float | None:
    """Of the repairs that were there before the last lap, the share that is still right; None without any."""
    last = table[-1]["repairs"]
    return last["kept"] / last["earlier"] if last["earlier"] else None
