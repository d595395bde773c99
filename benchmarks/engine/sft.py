"""Supervised fine-tuning: tokens a second of LoRA training, optimizer step included.

    python -m benchmarks.engine.sft [--quick] [--peers NAME …] [--rounds 5] [--threads 2]

Ours is `anubhav serve` driven by the stock Tinker SDK: forward_backward and optim_step are sent together and both
awaited, so HTTP, the journal and the snapshot are in the figure. transformers with PEFT runs in a process of its own,
without a server. SkyRL runs behind its own server. All: rank 32 on the seven linear layers of every block, the same
tokens; only tokens that are not padding count. Memory is the server's and its children's, or the worker's.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.stand.environments import NotRun, environment
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.machine import Limits, limits
from benchmarks.stand.model import training_operations
from benchmarks.stand.processes import Running, Worker, note, worker
from benchmarks.stand.rounds import take_turns
from benchmarks.stand.servers import ours, skyrl
from benchmarks.stand.session import Session, fail_without, options, session

FULL = {"8×256": [256] * 8, "mixed 32–256": [32, 64, 96, 128, 160, 192, 224, 256]}
QUICK = {"8×256": [24] * 2, "mixed 32–256": [8, 24]}


@dataclass(frozen=True)
class Peer:
    key: str
    name: str
    dtype: str
    """What ours computes in beside it."""
    skyrl: str = ""
    """What SkyRL computes in, when it is SkyRL."""
    autocast: bool = False


PEERS = (
    Peer("hf", "HF+PEFT fp32", "float32"),
    Peer("hf-autocast", "HF+PEFT bf16 autocast", "bfloat16", autocast=True),
    Peer("hf-autocast", "HF+PEFT bf16 autocast", "float32", autocast=True),
    Peer("skyrl", "SkyRL 0.3.0 JAX fp32", "float32", skyrl="float32"),
    Peer("skyrl", "SkyRL 0.3.0 JAX fp32", "bfloat16", skyrl="float32"),
    Peer("skyrl", "SkyRL 0.3.0 JAX bf16", "bfloat16", skyrl="bfloat16"),
)


@contextmanager
def trainer(peer: Peer, here: Session) -> Generator[tuple[Worker, Running]]:
    """The line to train over, and the process whose memory counts."""
    if peer.skyrl:
        with skyrl(here.folder, here.scratch, peer.skyrl) as served, served.client() as line:
            line.call("create_run")
            yield line, served.running
    else:
        with worker(environment("huggingface").python, "huggingface") as line:
            line.call("load", folder=str(here.folder), dtype="float32", autocast=peer.autocast, adapters=1)
            yield line, line.running


@contextmanager
def our_trainer(folder: Path, scratch: Path, dtype: str) -> Generator[tuple[Worker, Running]]:
    with ours(folder, scratch, dtype) as served, served.client() as line:
        line.call("create_run")
        yield line, served.running


def measure(here: Session, machine: Limits, peer: Peer, cases: dict[str, list[int]]) -> None:
    blank = {case: Record("sft", case, "tokens/s", None, peer_name=peer.name, dtype=peer.dtype) for case in cases}
    try:
        with (
            our_trainer(here.folder, here.scratch, peer.dtype) as (line, process),
            trainer(peer, here) as (their_line, their_process),
        ):
            for case, lengths in cases.items():
                note(f"{case}: ours in {peer.dtype} and {peer.name}")
                for each in (process, their_process):
                    each.forget_peak()
                found = take_turns(
                    here.rounds,
                    {
                        "ours": lambda number, lengths=lengths: rate(line, lengths, number),
                        "peer": lambda number, lengths=lengths: rate(their_line, lengths, number),
                        "limit": lambda _: machine.gemm(peer.dtype),
                    },
                )
                operations = training_operations(here.shape, lengths) / sum(lengths)
                share = median(found["ours"]) * operations / 1e9 / median(found["limit"])
                figure = Figure("anubhav", found["ours"], process.peak_bytes(), share, f"GEMM {peer.dtype}")
                theirs = Figure(peer.name, found["peer"], their_process.peak_bytes())
                here.compare(blank.pop(case), figure, theirs)
    except NotRun as problem:
        for record in blank.values():
            here.miss(record, problem)


def rate(line: Worker, lengths: list[int], number: int) -> float:
    return sum(lengths) / line.call("sft_step", lengths=lengths, number=number)


def main() -> None:
    parser = options(__doc__ or "", rounds=5, peers=tuple(dict.fromkeys(peer.key for peer in PEERS)))
    with (
        session("sft", parser) as here,
        limits(here.shape, seconds=0.1 if here.quick else 1) as machine,
    ):
        for peer in PEERS:
            if here.wants(peer.key):
                measure(here, machine, peer, QUICK if here.quick else FULL)
    fail_without(here.records)


if __name__ == "__main__":
    main()
