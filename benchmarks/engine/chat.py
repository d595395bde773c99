"""Does a chat stay responsive while a model is trained? Milliseconds between two words, idle and beside training.

    python -m benchmarks.engine.chat [--quick] [--rounds 4] [--threads 2]

A chat is streamed from `anubhav serve` over HTTP, word by word; idle rounds and rounds beside steps of 8×256 tokens,
sent by the stock Tinker SDK without a pause, take turns. What counts is the 95th percentile of the gaps.
"""

import itertools
import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from benchmarks.stand.figures import Figure, Record
from benchmarks.stand.processes import Worker, note
from benchmarks.stand.servers import KEY, Served, ours
from benchmarks.stand.session import fail_without, options, session

WORDS = 200


def gaps(served: Served, words: int, number: int) -> list[float]:
    """Milliseconds between the pieces of one streamed reply."""
    ask = {"role": "user", "content": f"Write a long story about a village with {number + 3} houses."}
    body = {"model": served.model, "messages": [ask], "stream": True, "max_tokens": words, "seed": number}
    heard: list[float] = []
    with httpx.stream(
        "POST", f"{served.url}/v1/chat/completions", json=body, headers={"X-API-Key": KEY}, timeout=600
    ) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                heard.append(time.perf_counter())
    return [1e3 * (later - earlier) for earlier, later in itertools.pairwise(heard)]


@contextmanager
def trained(line: Worker, lengths: list[int]) -> Generator[list[float]]:
    """Steps one after the other, until the end; gives their seconds."""
    over, took = threading.Event(), list[float]()

    def work() -> None:
        while not over.is_set():
            took.append(line.call("sft_step", lengths=lengths, number=len(took)))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


def main() -> None:
    with session("chat", options(__doc__ or "", rounds=4)) as here:
        lengths, words = ([24] * 2, 12) if here.quick else ([256] * 8, WORDS)
        for dtype in ("float32", "bfloat16"):
            found: dict[str, list[list[float]]] = {"idle": [], "beside training": []}
            with ours(here.folder, here.scratch, dtype) as served, served.client() as line:
                line.call("create_run")
                line.call("sft_step", lengths=lengths, number=0)
                gaps(served, words, 0)
                for number in range(here.rounds):
                    note(f"{dtype}, round {number + 1}")
                    found["idle"].append(gaps(served, words, 2 * number))
                    with trained(line, lengths):
                        found["beside training"].append(gaps(served, words, 2 * number + 1))
            for share, name in ((0.5, "median"), (0.95, "p95")):
                told = {case: [at(each, share) for each in rounds] for case, rounds in found.items()}
                blank = Record("chat", f"{name} between words", "ms", None, peer_name="idle", dtype=dtype)
                here.compare(blank, Figure("beside training", told["beside training"]), Figure("idle", told["idle"]))
    fail_without(here.records)


if __name__ == "__main__":
    main()
