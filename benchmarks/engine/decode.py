"""Decoding: new tokens a second of 1, 8, 32 and 64 concurrent streams, with no, one and sixteen LoRA adapters.

    python -m benchmarks.engine.decode [--quick] [--peers NAME …] [--dtypes float32 bfloat16] [--rounds 5] [--threads 2]

Every stream is a prompt of 64 tokens and 64 new ones at temperature 1, which nothing ends early; the time of the
prompts is in the figure. Ours is `anubhav serve` driven by the stock Tinker SDK over HTTP, log-probabilities included;
the peers run in processes of their own without HTTP, which favours them. Peers compute in the same dtype as ours, but
llama.cpp always in BF16 or from Q4_1. With 16 adapters, stream i speaks with adapter i mod 16.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.stand.environments import NotRun, environment
from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.machine import Limits, limits
from benchmarks.stand.model import decoding_bytes
from benchmarks.stand.processes import Running, Worker, note, worker
from benchmarks.stand.rounds import take_turns
from benchmarks.stand.servers import Served, ours
from benchmarks.stand.session import Session, fail_without, options, session


@dataclass(frozen=True)
class Load:
    streams: tuple[int, ...]
    adapters: tuple[int, ...]
    prompt: int
    new: int


FULL = Load((1, 8, 32, 64), (0, 1, 16), 64, 64)
QUICK = Load((1, 4), (0, 2), 8, 4)


@dataclass(frozen=True)
class Setting:
    """What a peer is started with."""

    here: Session
    load: Load
    dtype: str
    adapters: int


Generate = Callable[[int, int], list[float]]
"""(streams, number of the round) → seconds, tokens."""


@dataclass(frozen=True)
class Started:
    generate: Generate
    running: Running


@contextmanager
def hf(setting: Setting) -> Generator[Started]:
    with worker(environment("huggingface").python, "huggingface") as line:
        line.call("load", folder=str(setting.here.folder), dtype=setting.dtype, adapters=setting.adapters)
        yield _started(line, setting.load, adapters=setting.adapters)


@contextmanager
def vllm(setting: Setting, *, eager: bool) -> Generator[Started]:
    python, most, load = environment("vllm").python, max(setting.load.streams), setting.load
    told = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    folders = _adapter_folders(setting) if setting.adapters else []
    with worker(python, "vllm_offline", told) as line:
        words = {"folder": str(setting.here.folder), "dtype": setting.dtype, "eager": eager, "adapters": folders}
        line.call("load", **words, streams=most, context=max(256, 2 * (load.prompt + load.new)))
        yield _started(line, load, adapters=setting.adapters)


@contextmanager
def llama(setting: Setting, *, quantised: bool, draw: bool = True) -> Generator[Started]:
    if setting.adapters:
        raise NotRun("compared without adapters only")
    with worker(environment("llama").python, "llama") as line:
        file = line.call("q4_file")
        if not quantised:
            target = str(setting.here.scratch / "bf16.gguf")
            if not Path(target).exists():
                line.call("write_bf16", source=file, target=target)
            file = target
        line.call("load", file=file, threads=setting.here.threads)
        yield _started(line, setting.load, draw=draw)


def _started(line: Worker, load: Load, **words: object) -> Started:
    return Started(
        lambda streams, number: line.call(
            "generate", streams=streams, prompt=load.prompt, new=load.new, number=number, **words
        ),
        line.running,
    )


def _adapter_folders(setting: Setting) -> list[str]:
    target = setting.here.scratch / f"adapters-{setting.adapters}"
    with worker(environment("huggingface").python, "huggingface") as line:
        return line.call("write_adapters", folder=str(setting.here.folder), to=str(target), count=setting.adapters)


Peer = tuple[str, str, Callable[[Setting], AbstractContextManager[Started]]]
PEERS: tuple[Peer, ...] = (
    ("hf", "HF generate", hf),
    ("vllm", "vLLM-CPU eager", partial(vllm, eager=True)),
    ("vllm-compiled", "vLLM-CPU compiled", partial(vllm, eager=False)),
    ("llama-bf16", "llama.cpp BF16", partial(llama, quantised=False)),
    ("llama-bf16-unsampled", "llama.cpp BF16, nothing sampled", partial(llama, quantised=False, draw=False)),
    ("llama-q4", "llama.cpp Q4_1", partial(llama, quantised=True)),
)


def case_name(streams: int, adapters: int) -> str:
    speaking = "no adapter" if not adapters else "1 adapter" if adapters == 1 else f"{adapters} adapters"
    return f"1 stream, {speaking}" if streams == 1 else f"{streams} streams, {speaking}"


def measure(peer: Peer, setting: Setting, served: Served, client: Worker, machine: Limits) -> None:
    _, name, start = peer
    here, load, dtype = setting.here, setting.load, setting.dtype
    blank = {
        streams: Record("decode", case_name(streams, setting.adapters), "tokens/s", None, peer_name=name, dtype=dtype)
        for streams in load.streams
    }
    note(f"ours in {dtype} and {name}, {setting.adapters} adapters")
    try:
        with start(setting) as theirs:
            for streams in load.streams:
                for each in (served.running, theirs.running):
                    each.forget_peak()
                contenders = {
                    "ours": lambda number, streams=streams: rate(
                        client.call("sample", streams=streams, prompt=load.prompt, new=load.new, number=number)
                    ),
                    "peer": lambda number, streams=streams: rate(theirs.generate(streams, number)),
                }
                if streams == 1:
                    contenders["limit"] = lambda _: machine.read()
                found = take_turns(here.rounds, contenders)
                figure = Figure("anubhav", found["ours"], served.running.peak_bytes(), *_share(setting, found))
                record = blank.pop(streams)
                here.compare(record, figure, Figure(name, found["peer"], theirs.running.peak_bytes()))
    except NotRun as problem:
        for record in blank.values():
            here.miss(record, problem)


def _share(setting: Setting, found: dict[str, list[float]]) -> tuple[float | None, str]:
    """Of the memory's speed, if one stream had nothing to do but read the weights for each token."""
    if "limit" not in found:
        return None, ""
    read = median(found["ours"]) * decoding_bytes(setting.here.shape, setting.dtype) / 1e9
    return read / median(found["limit"]), "memory read"


def rate(answered: list[float]) -> float:
    seconds, tokens = answered
    return tokens / seconds


def measure_dtype(here: Session, machine: Limits, load: Load, dtype: str) -> None:
    with ours(here.folder, here.scratch, dtype) as served, served.client() as client:
        for adapters in load.adapters:
            if adapters:
                client.call("create_run")
                client.call("take_adapters", count=adapters)
            else:
                client.call("take_base")
            for peer in PEERS:
                if here.wants(peer[0]) and not (adapters and peer[0].startswith("llama")):
                    measure(peer, Setting(here, load, dtype, adapters), served, client, machine)


def main() -> None:
    parser = options(__doc__ or "", rounds=5, peers=tuple(peer[0] for peer in PEERS))
    parser.add_argument("--dtypes", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--streams", nargs="+", type=int, help="only so many (default: 1 8 32 64)")
    parser.add_argument("--adapters", nargs="+", type=int, help="only so many (default: 0 1 16)")
    with session("decode", parser) as here, limits(here.shape, seconds=0.1 if here.quick else 1) as machine:
        load = QUICK if here.quick else FULL
        load = replace(
            load,
            streams=tuple(here.chosen.streams or load.streams),
            adapters=tuple(here.chosen.adapters or load.adapters),
        )
        for dtype in here.chosen.dtypes:
            try:
                measure_dtype(here, machine, load, dtype)
            except NotRun as problem:
                here.miss(Record("decode", "all", "tokens/s", None, dtype=dtype), problem)
    fail_without(here.records)


if __name__ == "__main__":
    main()
