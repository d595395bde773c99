"""The peers' environments: one folder each under the user's cache folder, made on demand from peers.toml.

`python -m benchmarks.stand.environments NAME …` makes them beforehand; without names it lists them.
"""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs

PINS = Path(__file__).parents[1] / "peers.toml"
HOME = platformdirs.user_cache_path("anubhav", appauthor=False) / "benchmarks"
TORCH_INDEX = ["--extra-index-url", "https://download.pytorch.org/whl/cpu", "--timeout", "60", "--retries", "2"]
_BUILD_SECONDS = 5400


class NotRun(Exception):
    """A peer, or ourselves, cannot be measured here; the message says why."""

    def __init__(self, why: str, *, side: Literal["ours", "peer"] = "peer") -> None:
        super().__init__(why)
        self.side = side


@dataclass(frozen=True)
class Environment:
    name: str
    home: Path
    pins: dict[str, Any]
    torch: str

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def packages(self) -> Path:
        (found,) = self.home.glob("lib/python*/site-packages")
        return found

    @property
    def ready(self) -> bool:
        stamp = self.home / "finished"
        return stamp.exists() and stamp.read_text() == self.digest

    @property
    def digest(self) -> str:
        """Another one after a change of the pins, which makes the environment anew."""
        return hashlib.sha256(json.dumps([self.pins, self.torch], sort_keys=True).encode()).hexdigest()


def environment(name: str) -> Environment:
    """Raises NotRun when it cannot be made, with the end of what the installer said."""
    found = find(name)
    if needs := found.pins.get("needs"):
        named = os.environ.get(needs["variable"], "")
        if not Path(named).is_dir() or not named:
            raise NotRun(f"{needs['variable']} does not name {needs['what']}")
    if not found.ready:
        _make(found)
    return found


def find(name: str) -> Environment:
    pins = tomllib.loads(PINS.read_text())
    return Environment(name, HOME / name, pins[name], pins["torch"])


def _make(wanted: Environment) -> None:
    below = environment(wanted.pins["over"]) if "over" in wanted.pins else None
    print(f"making the environment of {wanted.name} in {wanted.home} …", file=sys.stderr, flush=True)
    _call([sys.executable, "-m", "venv", "--without-pip", "--clear", str(wanted.home)], {})
    if below:
        (wanted.packages / "below.pth").write_text(f"{below.packages}\n")
    build = wanted.pins.get("build", {})
    if wanted.pins.get("torch", not below):
        _pip(wanted, ["install", f"torch=={wanted.torch}", *TORCH_INDEX], build)
    constraint = wanted.home / "constraint.txt"
    constraint.write_text(f"torch=={wanted.torch}\n")
    _pip(wanted, ["install", *wanted.pins["packages"], "--constraint", str(constraint), *TORCH_INDEX], build)
    if late := wanted.pins.get("late"):
        _pip(wanted, ["install", "--no-deps", "--ignore-requires-python", *late], build)
    if remove := wanted.pins.get("remove"):
        _pip(wanted, ["uninstall", "--yes", *remove], build)
    (wanted.home / "finished").write_text(wanted.digest)


def _pip(wanted: Environment, words: list[str], build: dict[str, str]) -> None:
    python = str(wanted.python)
    _call([sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check", *words], build)


def _call(command: list[str], extra: dict[str, str]) -> None:
    surroundings = {**os.environ, **extra}
    # What shows through to us must not show through to a peer.
    surroundings.pop("PYTHONPATH", None)
    try:
        subprocess.run(
            command, env=surroundings, check=True, text=True, timeout=_BUILD_SECONDS,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
    except subprocess.CalledProcessError as problem:
        said = [line for line in problem.stderr.strip().splitlines() if line.strip()]
        raise NotRun(f"its packages cannot be installed: {' / '.join(said[-3:])[-400:]}") from problem
    except subprocess.TimeoutExpired as problem:
        raise NotRun(f"its packages were not installed after {_BUILD_SECONDS} s") from problem


if __name__ == "__main__":
    known = [name for name, pins in tomllib.loads(PINS.read_text()).items() if isinstance(pins, dict)]
    for chosen in sys.argv[1:]:
        print(environment(chosen).python)
    if not sys.argv[1:]:
        for each in known:
            print(f"{each:<12} {'made' if find(each).ready else 'not made'}   {HOME / each}")
