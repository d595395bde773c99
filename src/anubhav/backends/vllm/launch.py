"""How the server is started: its folder, its command line and its surroundings.

The folder is the user's own and short of name: a socket lies in it, which nobody else can open, so no port is taken and
no key is needed. Adapters are copied into it, as vLLM reads them again whenever it needs room.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from anubhav.backends.vllm import inside
from anubhav.backends.vllm.environment import Environment
from anubhav.errors import BadInput

BASE: Final = "base"
"""What the server calls the model itself."""
_SERVER: Final = "vllm.entrypoints.openai.api_server"
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_PLUGIN: Final = "anubhav"
_LONGEST_SOCKET: Final = 100
"""Bytes of a path: the system takes 107 on Linux, 103 elsewhere. A folder for temporary files may lie deeper."""
_OURS: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST")


@dataclass(frozen=True, slots=True)
class Options:
    dtype: str | None = None
    """None is float32 on a CPU and bfloat16 elsewhere."""
    context: int | None = None
    """Tokens of one sequence; None is what the model can."""
    rows: int = 64
    """Samples in one batch; more wait."""
    adapters: int = 8
    """In one batch; any number can be attached."""
    ready: int = 64
    """Adapters whose weights stay in memory; others are read again when they are asked for."""
    rank: int = 64
    """Of the largest adapter."""
    cache_gib: int = 4
    """Keys and values, on a CPU. A GPU takes what is free."""
    threads: int | None = None
    """On a CPU; None is half of the cores, as a trainer may be beside it."""
    start_seconds: float = 900.0

    def __post_init__(self) -> None:
        if self.rank not in _RANKS:
            raise BadInput(f"vLLM has no room for adapters of rank {self.rank}", hint=f"Choose one of {_RANKS}.")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What has to be known of a model folder before it is served."""

    folder: Path
    vocab: int
    context: int
    mixture: bool
    latent: bool
    """Attention over latents (DeepSeek, Kimi)."""


def read_facts(folder: Path, options: Options) -> ModelFacts:
    raw: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    raw = {**raw, **(raw.get("text_config") or {})}
    experts = ("num_experts", "num_local_experts", "n_routed_experts")
    longest = int(raw["max_position_embeddings"])
    if options.context and options.context > longest:
        raise BadInput(f"A context of {options.context} tokens is more than the model's {longest}", hint="Lower it.")
    return ModelFacts(
        folder,
        int(raw["vocab_size"]),
        options.context or longest,
        mixture=any(raw.get(name) for name in experts),
        latent=bool(raw.get("kv_lora_rank")),
    )


def refuse(facts: ModelFacts, environment: Environment) -> None:
    """What vLLM computes wrongly here. Raises BadInput."""
    if facts.latent and environment.kind == "cpu":
        raise BadInput(
            "vLLM on a CPU computes attention over latents (DeepSeek, Kimi) wrongly: its log-probabilities are off",
            hint="Sample with our own engine, or use a GPU.",
        )


def takes_adapters(facts: ModelFacts, environment: Environment) -> bool:
    """On a CPU vLLM has no adapters for models of experts: its kernels for them are a GPU's."""
    return not (facts.mixture and environment.kind == "cpu")


def make_home() -> Path:
    """A folder of this user alone, with what vLLM is to learn in it."""
    home = Path(tempfile.mkdtemp(prefix="anubhav-vllm-"))
    if len(os.fsencode(socket_of(home))) > _LONGEST_SOCKET:
        home.rmdir()
        home = Path(tempfile.mkdtemp(prefix="anubhav-vllm-", dir="/tmp"))
    (home / "adapters").mkdir()
    plugin = home / "inside"
    facts = plugin / "anubhav_inside-1.dist-info"
    facts.mkdir(parents=True)
    shutil.copyfile(inside.__file__, plugin / "anubhav_inside.py")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: anubhav-inside\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{_PLUGIN} = anubhav_inside:register\n")
    return home


def socket_of(home: Path) -> Path:
    return home / "socket"


def taught(home: Path) -> Path:
    """There once vLLM has learned what it must."""
    return home / "inside" / "taught"


def command(facts: ModelFacts, environment: Environment, options: Options, home: Path) -> list[str]:
    said: dict[str, object] = {
        "model": facts.folder,
        "served-model-name": BASE,
        "uds": socket_of(home),
        "dtype": options.dtype or ("float32" if environment.kind == "cpu" else "bfloat16"),
        "max-model-len": facts.context,
        "max-num-seqs": options.rows,
        "max-logprobs": -1,
        "generation-config": "vllm",
        "scheduling-policy": "priority",
    }
    flags = ["enable-scale-out", "skip-tokenizer-init", "disable-uvicorn-access-log"]
    if environment.kind == "cpu":
        flags.append("enforce-eager")
    if takes_adapters(facts, environment):
        flags.append("enable-lora")
        said |= {
            "max-loras": options.adapters,
            "max-cpu-loras": max(options.ready, options.adapters),
            "max-lora-rank": options.rank,
        }
    named = [word for name, value in said.items() for word in (f"--{name}", str(value))]
    return [str(environment.python), "-m", _SERVER, *named, *(f"--{flag}" for flag in flags)]


def surroundings(environment: Environment, options: Options, home: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OURS and not name.startswith("VLLM_")}
    found = {
        **kept,
        "PYTHONPATH": str(home / "inside"),
        "VLLM_PLUGINS": _PLUGIN,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_USE_V2_MODEL_RUNNER": "0",  # what is taught is for the first one
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if environment.kind == "cpu":
        threads = options.threads or max(1, (os.cpu_count() or 1) // 2)
        # Without them OpenMP spins, and on a busy machine one request took a minute.
        found |= {
            "VLLM_CPU_KVCACHE_SPACE": str(options.cache_gib),
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
        }
    return found
