"""The floor: milliseconds of one operation where the model costs nearly nothing, through the Tinker SDK.

    python -m benchmarks.engine.floor [--quick] [--peers NAME …] [--rounds 20] [--threads 2]

The model is a random Llama of two tiny layers (3 million parameters, nearly all of them embeddings) with the real
tokenizer, the same folder for every server. One operation is told by its median; for 32 and 512 samples sent at the
same moment the time until the last one is answered counts. Ours is driven by SDK 0.38, a peer by the newest one that
it understands (peers.toml).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.stand.environments import NotRun, environment
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.processes import Worker, note, worker
from benchmarks.stand.rounds import take_turns
from benchmarks.stand.servers import Served, hatchery, open_rl, ours, skyrl
from benchmarks.stand.session import Session, fail_without, options, session

RANK, LENGTH, NEW = 8, 8, 1

Cases = dict[str, Callable[[Worker, int], float]]
"""Each takes the client's line and the number of the round, and gives milliseconds."""
Start = Callable[[Path, Path], AbstractContextManager[Served]]
PEERS: dict[str, tuple[str, Start]] = {
    "skyrl": ("SkyRL 0.3.0 JAX", skyrl),
    "hatchery": ("hatchery 0.3.0", hatchery),
    "open-rl": ("open-rl", open_rl),
}


def operations(most: int) -> Cases:
    found: Cases = {
        "forward_backward": lambda line, number: 1e3 * line.call("forward_only", length=LENGTH, number=number),
        "optim_step": lambda line, _: 1e3 * line.call("optim_only"),
        "both, sent together": lambda line, number: 1e3 * line.call("sft_step", lengths=[LENGTH], number=number),
    }
    for streams in (1, 32, 512):
        if streams <= most:
            label = "1 sample" if streams == 1 else f"{streams} samples at once"
            found[label] = lambda line, number, streams=streams: sampled(line, streams, number)
    return found


def rounds_of(case: str, rounds: int) -> int:
    """A crowd of 512 takes some peers minutes."""
    return min(rounds, 3) if case.startswith("512") else rounds


def sampled(line: Worker, streams: int, number: int) -> float:
    return 1e3 * line.call("sample", streams=streams, prompt=LENGTH, new=NEW, number=number, ends=True)[0]


def open_run(served: Served, line: Worker) -> Served:
    line.call("create_run", rank=RANK)
    line.call("take_adapters", count=1)
    return served


def measure(here: Session, key: str, tiny: Path, line: Worker, cases: Cases) -> None:
    name, start = PEERS[key]
    blank = {case: Record("floor", case, "ms", None, peer_name=name) for case in cases}
    note(f"ours and {name}")
    try:
        with start(tiny, here.scratch) as served, served.client() as theirs:
            open_run(served, theirs)
            for case, operation in cases.items():
                found = take_turns(
                    rounds_of(case, here.rounds),
                    {
                        "ours": lambda number, operation=operation: operation(line, number),
                        "peer": lambda number, operation=operation: operation(theirs, number),
                    },
                )
                here.compare(blank.pop(case), Figure("anubhav", found["ours"]), Figure(name, found["peer"]))
    except NotRun as problem:
        for record in blank.values():
            here.miss(record, problem)


def alone(here: Session, line: Worker, cases: Cases) -> None:
    for case, operation in cases.items():
        turns = {"ours": lambda number, operation=operation: operation(line, number)}
        found = take_turns(rounds_of(case, here.rounds), turns)
        here.add(Record("floor", case, "ms", Figure("anubhav", found["ours"])))


def main() -> None:
    with session("floor", options(__doc__ or "", rounds=20, peers=tuple(PEERS))) as here:
        cases = operations(32 if here.quick else 512)
        tiny = here.scratch / "tiny"
        try:
            with worker(environment("huggingface").python, "tiny_model") as line:
                line.call("write", source=str(here.folder), target=str(tiny), vocabulary=here.shape.vocabulary)
            with ours(tiny, here.scratch) as served, served.client() as line:
                open_run(served, line)
                alone(here, line, cases)
                for key in PEERS:
                    if here.wants(key):
                        measure(here, key, tiny, line, cases)
        except NotRun as problem:
            here.miss(Record("floor", "all", "ms", None), problem)
    fail_without(here.records)


if __name__ == "__main__":
    main()
