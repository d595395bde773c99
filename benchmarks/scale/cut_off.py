"""A machine is cut off from the others for a minute, while the Tinker SDK trains and samples. What does its user see?

    sudo python -m benchmarks.scale.cut_off [--seconds 60] [--steps 12]

Linux, as root: the machines are network namespaces of this one, each with an address of its own on a bridge between
them. On the first are the server, its client and Ray's head; three others are Ray nodes with room for one host each. A
trainer and a sampler stand on two. In one run the trainer's machine loses its network, in another the sampler's, each
in the middle of a loop that trains and samples; a third run is undisturbed, and the losses and samples of all are
compared. What computes is a table. A JSON line for each run; the last line is one JSON object.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from benchmarks.loop.table import NAME, write_table
from benchmarks.stand.machine import commit, describe, processors
from benchmarks.stand.processes import await_ready, note, started
from benchmarks.stand.servers import KEY, free_port

CLAIM = "A machine that is cut off for a minute costs its users a wait, and nothing else."
_BRIDGE, _NET = "anubhav-br", "10.77.0"
_HEAD, *_OTHERS = [f"anubhav-{number}" for number in range(1, 5)]
_TOLD = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
_UP = 180.0


def command(*words: str) -> None:
    subprocess.run(words, check=True)


@contextmanager
def machines() -> Generator[None]:
    """A namespace for each, on one bridge."""
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["ip", "link", "del", _BRIDGE], check=False)
        command("ip", "link", "add", _BRIDGE, "type", "bridge")
        command("ip", "link", "set", _BRIDGE, "up")
        for number, name in enumerate((_HEAD, *_OTHERS), 1):
            command("ip", "netns", "add", name)
            stack.callback(tear_down, name)
            cable = f"anubhav-v{number}"
            command("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
            command("ip", "link", "set", cable, "master", _BRIDGE, "up")
            command("ip", "-n", name, "addr", "add", f"{address(name)}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                command("ip", "-n", name, "link", "set", link, "up")
        yield


def tear_down(name: str) -> None:
    """With whatever still runs there."""
    told = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for process in map(int, told.split()):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], check=False)


def address(name: str) -> str:
    return f"{_NET}.{name.rpartition('-')[2]}"


def ray_start(name: str, stack: ExitStack, scratch: Path) -> None:
    """A Ray node on that machine, until the stack ends."""
    ray = str(Path(sys.executable).with_name("ray"))
    words = ["ip", "netns", "exec", name, ray, "start", "--block", f"--node-ip-address={address(name)}"]
    if name == _HEAD:
        words += ["--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={scratch}"]
    else:
        words += [f"--address={address(_HEAD)}:6379", "--num-cpus=1"]
    stack.enter_context(started([*words, "--object-store-memory=100000000"], told=_TOLD))


class Loop:
    """What a user of the SDK does, and how long each step took."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, steps: int, meanwhile: Callable[[int], None]) -> dict[str, Any]:
        import tinker
        from tinker import types

        losses: list[float] = []
        samples: list[list[int]] = []
        took: list[float] = []
        with tinker.ServiceClient(base_url=self._url, api_key=KEY) as service:
            client = service.create_lora_training_client(NAME, rank=4, seed=1).result()
            speaker = service.create_sampling_client(base_model=NAME)
            speaker = speaker.result() if hasattr(speaker, "result") else speaker
            params = types.SamplingParams(max_tokens=40, temperature=1.0, seed=5)
            for step in range(steps):
                meanwhile(step)
                begun = time.perf_counter()
                passed = client.forward_backward([_datum(types, step)], "cross_entropy")
                update = client.optim_step(types.AdamParams(learning_rate=1e-2))
                said = speaker.sample(types.ModelInput.from_ints([3, 1, step + 2]), 1, params)
                losses.append(passed.result().metrics["loss:sum"])
                update.result()
                samples.append(list(said.result().sequences[0].tokens))
                took.append(time.perf_counter() - begun)
        return {"losses": losses, "samples": samples, "took": took}


def _datum(types: Any, step: int) -> Any:
    row = [2 + (step * 31 + place * 7) % 200 for place in range(9)]
    inputs = {"target_tokens": row[1:], "weights": [1.0] * 8}
    return types.Datum(model_input=types.ModelInput.from_ints(row[:-1]), loss_fn_inputs=inputs)


def cluster(url: str) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/v1/cluster", headers={"x-api-key": KEY})
    with urllib.request.urlopen(request, timeout=90) as answer:
        return json.load(answer)


def machine_of(url: str, post: str) -> str:
    """The namespace where it stands."""
    seen = cluster(url)
    there = next(row["node_id"] for row in seen["data"] if row["post"] == post)
    found = next(row["address"] for row in seen["nodes"] if row["node_id"] == there)
    return next(name for name in _OTHERS if address(name) == found)


def cut(name: str, seconds: float) -> Timer:
    """The timer that plugs it in again."""
    note(f"{name} is cut off")
    command("ip", "-n", name, "link", "set", "eth0", "down")
    back = Timer(seconds, command, ("ip", "-n", name, "link", "set", "eth0", "up"))
    back.start()
    return back


def measure(chosen: argparse.Namespace, scratch: Path, stack: ExitStack) -> list[dict[str, Any]]:
    for name in (_HEAD, *_OTHERS):
        ray_start(name, stack, scratch / "ray")
        time.sleep(chosen.settle)
    port = free_port()
    words = [sys.executable, "-m", "anubhav", "serve", "--port", str(port), "--model", str(write_table(scratch / NAME))]
    words += ["--data-dir", str(scratch / "data"), "--cluster", f"{address(_HEAD)}:6379"]
    server = stack.enter_context(started(words, told={**_TOLD, "ANUBHAV_API_KEY": KEY}, side="ours"))
    url = f"http://127.0.0.1:{port}"
    await_ready(server, lambda: answers(url), _UP)
    found: list[dict[str, Any]] = []
    for victim in (None, f"{NAME} trainer", f"{NAME} sampler 1"):
        cuts: list[tuple[Timer, str]] = []

        def strike(step: int, victim: str | None = victim, cuts: list[tuple[Timer, str]] = cuts) -> None:
            if victim and step == chosen.steps // 3:
                name = machine_of(url, victim)
                cuts.append((cut(name, chosen.seconds), name))

        told = Loop(url).run(chosen.steps, strike)
        found.append(judged(victim, told, found))
        for timer, name in cuts:
            timer.join()
            time.sleep(chosen.settle)
            alive = {row["address"] for row in cluster(url)["nodes"]}
            found[-1]["back_in_the_cluster"] = address(name) in alive
            if address(name) not in alive:
                ray_start(name, stack, scratch / "ray")  # as whoever looks after it would
                time.sleep(chosen.settle)
        print(json.dumps({**found[-1], "told": None}), flush=True)
    return found


def judged(victim: str | None, told: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    calm = before[0]["told"] if before else told
    same = {what: told[what] == calm[what] for what in ("losses", "samples")}
    ordered = sorted(told["took"])
    return {
        "cut_off": victim,
        "longest_step_seconds": round(ordered[-1], 2),
        "usual_step_seconds": round(ordered[len(ordered) // 2], 3),
        "losses_equal": same["losses"],
        "samples_equal": same["samples"],
        "told": told,
    }


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="without a network (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--settle", type=float, default=8.0, help="seconds that Ray gets (default: %(default)s)")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside is None:
        if os.geteuid():
            parser.error("namespaces are root's to make")
        with machines(), tempfile.TemporaryDirectory(prefix="cut-") as scratch:
            inside = [sys.executable, "-m", "benchmarks.scale.cut_off", *sys.argv[1:], "--inside", scratch]
            sys.exit(subprocess.run(["ip", "netns", "exec", _HEAD, *inside], check=False).returncode)
    with ExitStack() as stack:
        found = measure(chosen, chosen.inside, stack)
    rows = [{name: value for name, value in one.items() if name != "told"} for one in found]
    holds = all(one["losses_equal"] and one["samples_equal"] for one in rows)
    about = {"benchmark": "scale.cut_off", "claim": CLAIM, "holds": holds, "seconds": chosen.seconds, "runs": rows}
    print(json.dumps({**about, "machine": describe(processors()), "commit": commit()}))


if __name__ == "__main__":
    main()
