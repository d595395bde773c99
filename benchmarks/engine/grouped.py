"""Grouped reinforcement learning: seconds of one policy-gradient step on 8 groups of 8 replies to a prompt each.

    python -m benchmarks.engine.grouped [--quick] [--peers NAME …] [--rounds 3] [--threads 2]

Ours is `anubhav serve` driven by the stock Tinker SDK (importance_sampling, forward_backward and optim_step sent
together); it computes a shared prompt once. transformers with PEFT pads nothing here, as all replies are equally long,
computes the head for the replies only, and takes one group at a time, so that it fits into memory. TRL's GRPO loss is
given the same rollouts. All in fp32, rank 32 on the seven linear layers. What is compared is tokens a second, every
token of every sequence counted, also those that a shared prompt saves.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.stand.environments import NotRun, environment
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.processes import Running, Worker, note, worker
from benchmarks.stand.rounds import take_turns
from benchmarks.stand.servers import ours
from benchmarks.stand.session import Session, fail_without, options, session

PEERS = {"hf": "HF+PEFT fp32", "trl": "TRL GRPO fp32"}


@dataclass(frozen=True)
class Shape:
    groups: int
    each: int
    prompt: int
    reply: int

    @property
    def name(self) -> str:
        return f"{self.groups}×{self.each}, prompt {self.prompt}, reply {self.reply}"

    @property
    def tokens(self) -> int:
        return self.groups * self.each * (self.prompt + self.reply)

    @property
    def words(self) -> list[int]:
        return [self.groups, self.each, self.prompt, self.reply]


FULL = tuple(Shape(8, 8, prompt, reply) for prompt in (44, 256) for reply in (16, 64))
QUICK = (Shape(2, 2, 12, 4),)


@contextmanager
def trainer(key: str, here: Session, shapes: tuple[Shape, ...]) -> Generator[tuple[Worker, Running]]:
    if key == "hf":
        with worker(environment("huggingface").python, "huggingface") as line:
            line.call("load", folder=str(here.folder), dtype="float32", adapters=1)
            yield line, line.running
    else:
        with worker(environment("trl").python, "trl_grpo", {"HF_HUB_OFFLINE": "1"}) as line:
            longest = max(shape.reply for shape in shapes)
            words = {"folder": str(here.folder), "scratch": str(here.scratch / "trl"), "each": shapes[0].each}
            line.call("load", **words, reply=longest)
            yield line, line.running


def measure(here: Session, key: str, shapes: tuple[Shape, ...], line: Worker, process: Running) -> None:
    name = PEERS[key]
    blank = {
        shape: Record("grouped", shape.name, "tokens/s", None, peer_name=name, dtype="float32") for shape in shapes
    }
    try:
        with trainer(key, here, shapes) as (their_line, their_process):
            for shape in shapes:
                note(f"{shape.name}: ours and {name}")
                for each in (process, their_process):
                    each.forget_peak()
                found = take_turns(
                    here.rounds,
                    {
                        "ours": lambda number, shape=shape: rate(line, shape, number),
                        "peer": lambda number, shape=shape: rate(their_line, shape, number, rows=shape.each),
                    },
                )
                figure = Figure("anubhav", found["ours"], process.peak_bytes())
                here.compare(blank.pop(shape), figure, Figure(name, found["peer"], their_process.peak_bytes()))
    except NotRun as problem:
        for record in blank.values():
            here.miss(record, problem)


def rate(line: Worker, shape: Shape, number: int, **words: int) -> float:
    return shape.tokens / line.call("grouped_step", shape=shape.words, number=number, **words)


def main() -> None:
    with session("grouped", options(__doc__ or "", rounds=3, peers=tuple(PEERS))) as here:
        shapes = QUICK if here.quick else FULL
        try:
            with ours(here.folder, here.scratch) as served, served.client() as line:
                line.call("create_run")
                for key in PEERS:
                    if here.wants(key):
                        measure(here, key, shapes, line, served.running)
        except NotRun as problem:
            here.miss(Record("grouped", "all", "tokens/s", None, dtype="float32"), problem)
    fail_without(here.records)


if __name__ == "__main__":
    main()
