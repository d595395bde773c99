"""The closing table and the report file: the same figures for people and for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anubhav.cli.demo.figures import Act, difference, share
from anubhav.cli.tables import layout


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    model: str
    corrections: Act
    thumbs: Act
    general_before: Sequence[bool]
    general_after: Sequence[bool]
    seconds: float
    releases: Sequence[Mapping[str, Any]]

    @property
    def promoted(self) -> int:
        return sum(release["action"] == "promote" for release in self.releases)


def closing_table(outcome: Outcome) -> str:
    probes = probe_figures(outcome)
    text = _text(outcome)
    lines = [
        ("what", "n", "before", "after", "95 % interval of the gain", "gate", "time"),
        _act("corrections: other wordings", outcome.corrections),
        _act("thumbs only: other sums", outcome.thumbs),
        (
            "unrelated questions",
            str(probes["n"]),
            f"{probes['before']:.0%}",
            f"{probes['after']:.0%}",
            _interval(probes["interval"]),
            "",
            "",
        ),
    ]
    for name, (before, after) in text.items():
        lines.append((f"unrelated text after {name}", "", f"{before:.3f}", f"{after:.3f}", "log-prob. a token", "", ""))
    return f"{layout(lines)}\n\n{outcome.promoted} releases in {outcome.seconds / 60:.1f} minutes (seed {outcome.seed})"


def probe_figures(outcome: Outcome) -> dict[str, Any]:
    return {
        "n": len(outcome.general_before),
        "before": share(outcome.general_before),
        "after": share(outcome.general_after),
        "interval": difference(outcome.general_before, outcome.general_after),
        "text": _text(outcome),
    }


def write_report(outcome: Outcome, file: Path) -> None:
    report = {
        "corrections": asdict(outcome.corrections),
        "thumbs": asdict(outcome.thumbs),
        "probes": probe_figures(outcome),
        "seconds": round(outcome.seconds, 1),
        "releases": outcome.releases,
        "seed": outcome.seed,
        "model": outcome.model,
    }
    file.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _act(name: str, act: Act) -> tuple[str, ...]:
    return (
        name,
        str(act.n),
        f"{act.before:.0%}",
        f"{act.after:.0%}",
        _interval(act.interval),
        ", ".join(act.laps),
        f"{act.seconds:.0f} s",
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.0%} … {interval[1]:+.0%}"


def _text(outcome: Outcome) -> dict[str, tuple[float, float]]:
    acts = {"corrections": outcome.corrections, "thumbs": outcome.thumbs}
    return {name: act.text for name, act in acts.items() if act.text is not None}
