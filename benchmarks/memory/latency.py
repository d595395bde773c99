"""What does memory add to a turn of a chat? Over HTTP, on the embedded model, with the kept prefix reused and without.

    python -m benchmarks.memory.latency --budget 2048

Three chats say the same, one message a request: without a memory; with one that is full; and with one whose system
message begins with another number every time, so that no engine can reuse what it computed for the turn before. Turns
of the three alternate. Figures are seconds of a whole request, medians and 95th percentiles; `added` is the difference
of medians to the chat without a memory.
"""

import argparse
import json
import tempfile
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

from anubhav.app import pull_model
from anubhav.settings import default_models_dir
from benchmarks.loop.line import Line
from benchmarks.memory.chatter import Chatter
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.model import NAME
from benchmarks.stand.processes import note
from benchmarks.stand.servers import KEY, ours

ARMS = ("no memory", "prefix kept", "prefix not reused")
_FULL = 0.9
"""Of the budget, from which on a memory counts as full."""
_MOST_FILLING = 400
_SYSTEM = "You are a helpful assistant."


class Chat:
    """One chat of one arm."""

    def __init__(self, line: Line, arm: str, budget: int, tokens: int) -> None:
        self._line, self._arm, self._tokens = line, arm, tokens
        self._use = {"memory": {"budget": budget}, "session_id": arm.replace(" ", "-")} if arm != ARMS[0] else {}
        self._chance = Random(arm)
        self.prompt = 0
        """Tokens of the last prompt."""

    def say(self, text: str, tokens: int | None = None) -> float:
        """Seconds until the reply was there."""
        system = f"{self._chance.random()} {_SYSTEM}" if self._arm == ARMS[2] else _SYSTEM
        body: dict[str, Any] = {
            "model": self._line.base_model(),
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
            "max_tokens": tokens or self._tokens,
            "temperature": 0.0,
            **self._use,
        }
        started = perf_counter()
        answer = self._line.call("POST", "/v1/chat/completions", body)
        seconds = perf_counter() - started
        self.prompt = answer["usage"]["prompt_tokens"]
        return seconds


def fill(chat: Chat, chatter: Chatter, budget: int) -> int:
    """Talk until the memory is full; the number of turns it took."""
    for turn in range(_MOST_FILLING):
        if chat.prompt >= budget * _FULL:
            return turn
        chat.say(" ".join(chatter.say("user") for _ in range(6)), 1)
    return _MOST_FILLING


def measure(line: Line, chosen: argparse.Namespace) -> dict[str, Any]:
    chats = {arm: Chat(line, arm, chosen.budget, chosen.tokens) for arm in ARMS}
    for arm in ARMS[1:]:
        note(f"{arm}: full after {fill(chats[arm], Chatter(Random(0), frozenset()), chosen.budget)} turns")
    chatter = Chatter(Random(1), frozenset())
    took: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for turn in range(chosen.turns + 1):
        text = chatter.talk("user")
        for arm, chat in chats.items():
            seconds = chat.say(text)
            if turn:
                took[arm].append(seconds)
    base = median(took[ARMS[0]])
    return {
        arm: {
            "p50_s": round(median(times), 4),
            "p95_s": round(sorted(times)[int(0.95 * len(times))], 4),
            "added_p50_s": round(median(times) - base, 4),
            "prompt_tokens": chats[arm].prompt,
        }
        for arm, times in took.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=2048, help="in tokens (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=40, help="timed (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=16, help="of a reply at most (default: %(default)s)")
    parser.add_argument("--model", default=NAME, help="catalogue name or folder (default: %(default)s)")
    chosen = parser.parse_args()
    folder = pull_model(chosen.model, default_models_dir(), note).folder
    with tempfile.TemporaryDirectory(prefix="anubhav-benchmark-") as scratch, ours(folder, Path(scratch)) as served:
        line = Line(served.url, KEY)
        told = measure(line, chosen)
        line.close()
    kept, not_reused = told[ARMS[1]]["added_p50_s"], told[ARMS[2]]["added_p50_s"]
    summary = {
        "benchmark": "memory.latency",
        "claim": {"the kept prefix saves time": kept < not_reused},
        "budget": chosen.budget,
        "turns": chosen.turns,
        "arms": told,
        "machine": describe(processors()),
        "commit": commit(),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
