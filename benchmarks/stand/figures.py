"""Figures: one record for each comparison, printed as a JSON line at once and as a row of a table at the end."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Figure:
    """What one engine reached in one case: a figure per round, all of them kept."""

    name: str
    rounds: list[float]
    peak_bytes: int | None = None
    share: float | None = None
    """Of the machine's own limit in the same run."""
    share_of: str = ""

    @property
    def median(self) -> float:
        return median(self.rounds)


@dataclass(frozen=True)
class Record:
    benchmark: str
    case: str
    unit: str
    ours: Figure | None
    peer: Figure | None = None
    not_run: str = ""
    """Why there is no figure of the side that is `missing`, and so none of the other."""
    missing: str = ""
    """"ours" or "peer"."""
    peer_name: str = ""
    dtype: str = ""
    """What ours computed in."""
    ratio: float | None = None
    """Ours ÷ peer, of the medians."""
    ratios: list[float] = field(default_factory=list[float])
    """The same of each round."""
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    quick: bool = False


def compared(ours: Sequence[float], peer: Sequence[float]) -> tuple[float, list[float]]:
    """Ours ÷ peer: of the medians, and round by round."""
    return median(ours) / median(peer), [one / other for one, other in zip(ours, peer, strict=True)]


def to_line(record: Record) -> str:
    said = asdict(record)
    for side in ("ours", "peer"):
        figure = getattr(record, side)
        if figure:
            said[side]["median"] = figure.median
    return json.dumps(said)


def from_line(line: str) -> Record:
    said: dict[str, Any] = json.loads(line)
    for side in ("ours", "peer"):
        if said[side]:
            said[side] = Figure(**{name: value for name, value in said[side].items() if name != "median"})
    return Record(**said)


def closing(claim: str, records: Sequence[Record], machine: dict[str, Any], commit: str) -> str:
    """The last line of a benchmark: one JSON object with every figure, for whoever reads only that."""
    figures = [
        {
            "case": one.case,
            "dtype": one.dtype,
            "unit": one.unit,
            "ours": one.ours.median if one.ours else None,
            "share": one.ours.share if one.ours else None,
            "peer": one.peer_name,
            "theirs": one.peer.median if one.peer else None,
            "ratio": one.ratio,
            "not_run": one.not_run,
        }
        for one in records
    ]
    return json.dumps({"claim": claim, "machine": machine, "commit": commit, "figures": figures})


HEADS = ("case", "peer", "unit", "ours", "theirs", "ratio", "ratio of rounds", "our limit", "memory", "their memory")


def to_row(record: Record) -> tuple[str, ...]:
    ours, peer = record.ours, record.peer
    case = f"{record.case}, {record.dtype}" if record.dtype else record.case
    spread = f"{min(record.ratios):.2f}–{max(record.ratios):.2f}" if record.ratios else ""
    lack = f"not run: {record.not_run}"
    return (
        case,
        record.peer_name,
        record.unit,
        number(ours.median) if ours else lack if record.missing == "ours" else "",
        number(peer.median) if peer else lack if record.missing == "peer" else "",
        f"{record.ratio:.2f}" if record.ratio else "",
        spread,
        f"{ours.share:.0%} of {ours.share_of}" if ours and ours.share else "",
        gigabytes(ours),
        gigabytes(peer),
    )


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def gigabytes(figure: Figure | None) -> str:
    return f"{figure.peak_bytes / 1e9:.2f} GB" if figure and figure.peak_bytes else ""


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = HEADS) -> str:
    """Markdown, in columns, without those that hold nothing."""
    kept = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines = [[heads[column] for column in kept], *[[row[column] for column in kept] for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(kept))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])
