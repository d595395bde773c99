"""A session on the stand: the options every benchmark has, the model's folder, and the records that come out."""

import argparse
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from anubhav.app import pull_model
from anubhav.settings import default_models_dir
from benchmarks.stand.environments import NotRun
from benchmarks.stand.figures import Figure, Record, closing, compared, table, to_line, to_row
from benchmarks.stand.machine import commit, describe, hold_to, processors
from benchmarks.stand.model import NAME, Shape, read_shape
from benchmarks.stand.processes import note


@dataclass
class Session:
    benchmark: str
    folder: Path
    shape: Shape
    scratch: Path
    """Gone at the end."""
    rounds: int
    threads: int
    chosen: argparse.Namespace
    records: list[Record] = field(default_factory=list[Record])

    @property
    def quick(self) -> bool:
        return self.chosen.quick

    def wants(self, peer: str) -> bool:
        return not self.chosen.peers or peer in self.chosen.peers

    def add(self, record: Record) -> None:
        """Print it at once; a session that is cut short has said what it knew."""
        whole = replace(record, machine=describe(self.threads), quick=self.quick)
        self.records.append(whole)
        print(to_line(whole), flush=True)

    def compare(self, record: Record, ours: Figure, peer: Figure) -> None:
        """`record` names the case, the unit and the peer; the rest is filled in here."""
        ratio, ratios = compared(ours.rounds, peer.rounds)
        self.add(replace(record, ours=ours, peer=peer, ratio=ratio, ratios=ratios))

    def miss(self, record: Record, problem: NotRun) -> None:
        who = record.peer_name if problem.side == "peer" else "ours"
        note(f"{record.case}, {who}: not run: {problem}")
        self.add(replace(record, missing=problem.side, not_run=str(problem)))


def options(about: str, *, rounds: int, peers: tuple[str, ...] = ()) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny settings: shows that it runs, measures nothing")
    parser.add_argument("--rounds", type=int, default=rounds, help="measured turns of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=processors(), help="of each engine (default: %(default)s)")
    parser.add_argument("--model", default=NAME, help="catalogue name or folder (default: %(default)s)")
    if peers:
        parser.add_argument("--peers", nargs="*", choices=peers, help="only these (default: all)")
    return parser


@contextmanager
def session(benchmark: str, parser: argparse.ArgumentParser) -> Generator[Session]:
    """Everything a benchmark needs; its table and one JSON object are printed at the end, also when interrupted."""
    # Otherwise a polite kill would leave servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chosen = parser.parse_args()
    hold_to(chosen.threads)
    folder = pull_model(chosen.model, default_models_dir(), note).folder
    with tempfile.TemporaryDirectory(prefix="anubhav-benchmark-") as scratch:
        rounds = min(chosen.rounds, 1) if chosen.quick else chosen.rounds
        here = Session(benchmark, folder, read_shape(folder), Path(scratch), rounds, chosen.threads, chosen)
        try:
            yield here
        finally:
            print(f"\n{benchmark}: {here.threads} threads, {here.rounds} rounds", end="")
            print(" (--quick: these are no measurements)" if here.quick else "")
            print(table([to_row(record) for record in here.records]))
            claim = (parser.description or benchmark).strip().splitlines()[0]
            print(closing(claim, here.records, describe(here.threads), commit()), flush=True)


def fail_without(records: list[Record]) -> None:
    """Ends with 1 when ours has no figure at all: a peer may be missing, we may not."""
    if not any(record.ours for record in records):
        sys.exit(1)
