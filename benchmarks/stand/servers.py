"""Tinker servers under measurement: ours and the peers', each started by the benchmark on a free port.

Ours is `anubhav serve` as anybody starts it. What a peer needs beyond its own documentation is said where it is done.
"""

import functools
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stand.environments import NotRun, environment
from benchmarks.stand.processes import BENCHMARKS, Running, Worker, await_ready, started, worker

KEY = "tml-benchmark-0123456789abcdef0123456789"
_READY_SECONDS = 600


@dataclass(frozen=True)
class Served:
    """A running server and the interpreter that has the SDK it understands."""

    name: str
    url: str
    model: str
    """The base model's name in the API."""
    running: Running
    python: Path

    @contextmanager
    def client(self) -> Generator[Worker]:
        told = {"TINKER_BASE_URL": self.url, "TINKER_API_KEY": KEY, "TINKER_TELEMETRY": "0"}
        with worker(self.python, "tinker_client", told, self.running.side) as line:
            line.call("open_service", model=self.model)
            yield line


@functools.cache
def own_dtypes() -> tuple[str, ...]:
    """What `anubhav serve` can compute in, by its own help."""
    said = subprocess.run([sys.executable, "-m", "anubhav", "serve", "--help"], capture_output=True, text=True)
    return ("float32", "bfloat16") if "--dtype" in said.stdout else ("float32",)


@contextmanager
def ours(folder: Path, scratch: Path, dtype: str = "float32") -> Generator[Served]:
    """Raises NotRun for a dtype that this version does not offer."""
    if dtype not in own_dtypes():
        raise NotRun(f"anubhav serve has no --dtype {dtype}", side="ours")
    port = free_port()
    command = [sys.executable, "-m", "anubhav", "serve", "--port", str(port), "--model", str(folder)]
    command += ["--data-dir", str(scratch / f"anubhav-{port}")]
    if len(own_dtypes()) > 1:
        command += ["--dtype", dtype]
    url = f"http://127.0.0.1:{port}"
    with started(command, told={"ANUBHAV_API_KEY": KEY}, side="ours") as running:
        await_ready(running, _answers(f"{url}/api/v1/healthz"), _READY_SECONDS)
        yield Served("anubhav", url, folder.name, running, Path(sys.executable))


@contextmanager
def skyrl(folder: Path, scratch: Path, dtype: str = "float32") -> Generator[Served]:
    """SkyRL's JAX backend, which is the one that computes on a CPU, and faster in float32."""
    made = environment("skyrl")
    _repair_skyrl(made.packages)
    folder = _in_dtype(folder, scratch / f"{folder.name}-{dtype}", dtype)
    port = free_port()
    backend = '{"max_lora_adapters":4,"max_lora_rank":32,"train_micro_batch_size":8,"sample_max_num_sequences":32}'
    command = [str(made.python), str(BENCHMARKS / "workers" / "skyrl_server.py"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--base-model", str(folder), "--backend", "jax", "--backend-config", backend]
    kept, database = scratch / f"skyrl-{port}", scratch / f"skyrl-{port}.db"
    command += ["--checkpoints-base", str(kept), "--database-url", f"sqlite:///{database}"]
    url = f"http://127.0.0.1:{port}"
    with started(command, told={"JAX_PLATFORMS": "cpu"}) as running:
        await_ready(running, _answers(f"{url}/api/v1/healthz"), _READY_SECONDS)
        yield Served("SkyRL 0.3.0", url, str(folder), running, made.python)


def _in_dtype(folder: Path, to: Path, dtype: str) -> Path:
    """The same files under a configuration that names another dtype, where SkyRL looks for it."""
    to.mkdir(exist_ok=True)
    for file in folder.iterdir():
        if not (to / file.name).exists():
            (to / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (to / "config.json").unlink()
    (to / "config.json").write_text(json.dumps(config | {"dtype": dtype, "torch_dtype": dtype}), encoding="utf-8")
    return to


def _repair_skyrl(packages: Path) -> None:
    """On Python 3.11 pydantic refuses typing's TypedDict, so SkyRL's server ends at import."""
    file = packages / "skyrl" / "tinker" / "types.py"
    told = "from typing import Annotated, Any, Literal, TypedDict"
    better = "from typing import Annotated, Any, Literal\nfrom typing_extensions import TypedDict"
    file.write_text(file.read_text().replace(told, better))


@contextmanager
def hatchery(folder: Path, scratch: Path) -> Generator[Served]:
    made = environment("hatchery")
    port = free_port()
    told = {
        "HATCHERY_DEV_PORT": str(port),
        "HATCHERY_DEV_API_KEY": KEY,
        "HATCHERY_DEV_BASE_MODEL": str(folder),
        "HATCHERY_DEV_DEVICE": "cpu:0",
    }
    url = f"http://127.0.0.1:{port}"
    command = [str(made.python), str(BENCHMARKS / "workers" / "hatchery_server.py")]
    with started(command, told=told, cwd=scratch) as running:
        await_ready(running, _answers(f"{url}/api/v1/healthz"), _READY_SECONDS)
        yield Served("hatchery 0.3.0", url, str(folder), running, made.python)


@contextmanager
def open_rl(folder: Path, _: Path) -> Generator[Served]:
    made = environment("open-rl")
    port = free_port()
    command = [str(made.python), "-m", "uvicorn", "gateway:app", "--host", "127.0.0.1", "--port", str(port)]
    told = {"BASE_MODEL": str(folder), "SAMPLING_BACKEND": "torch"}
    url = f"http://127.0.0.1:{port}"
    with started(command, told=told, cwd=Path(os.environ["OPEN_RL"]) / "src" / "server") as running:
        await_ready(running, _answers(f"{url}/api/v1/healthz"), _READY_SECONDS)
        yield Served("open-rl", url, str(folder), running, made.python)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(address: str) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as problem:
            return problem.code in (401, 403)  # it is up, and wants a key
        except OSError:
            return False

    return asked
