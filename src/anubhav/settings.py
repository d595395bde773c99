"""What a server is started with: read once, checked once, never changed while it runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from anubhav.errors import BadInput
from anubhav.types.health import Setting

DEFAULT_MODEL = "smollm2-135m-instruct"
DEFAULT_URL = "http://127.0.0.1:8000"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Settings:
    data_dir: Path
    models_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes any free port."""
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    """Catalogue names, `hf:<org>/<name>` or folders; the first is what `default` starts from."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(served name, model name) pairs."""
    dtype: str | None = None
    """What models compute in, float32 or bfloat16; None is float32 on a CPU and bfloat16 elsewhere."""
    api_key: str | None = None
    """The operator's key when it was chosen by hand; otherwise one is made and kept in the data folder."""
    sampler: Literal["own", "vllm"] = "own"
    """What samples: the engine that trains too, or a vLLM server beside it."""
    layout: str | None = None
    """Of a sharded trainer: axes such as `tp=2,fsdp=2`, or a plan's cluster.json; None: one process trains."""
    cluster: str | None = None
    """A Ray cluster's address, or `local` for one that ends with the server; None: everything in this process."""
    samplers: int = 1
    """In a cluster, for each model."""
    store: str | None = None
    """Where the rows are when more than one process serves: Postgres, postgresql://USER:PASSWORD@HOST/DATABASE (docs/
    replicas.md); None: in a SQLite file in the data folder, for one process."""
    trackers: tuple[Literal["trackio", "wandb", "mlflow"], ...] = ()
    """Who is told what runs and laps measure, besides the file that always is (docs/operations.md)."""
    configuration: tuple[Setting, ...] = ()
    """All of this again, and where each comes from, for whoever looks after the server."""

    def __post_init__(self) -> None:
        if not self.local and not self.api_key:
            raise BadInput(
                f"Serving on {self.host} lets other machines in, so the API key must be one you chose",
                hint="Set ANUBHAV_API_KEY to tml- and at least 24 random characters, or leave --host out.",
            )

        if self.store and not self.store.startswith(("postgresql://", "postgres://")):
            raise BadInput(
                "--store is no address of Postgres",
                hint="It is written postgresql://USER:PASSWORD@HOST/DATABASE; without it rows are in the data folder.",
            )
        if self.cluster and self.sampler != "own":
            raise BadInput("In a cluster our own engine samples", hint="Leave out --sampler or --cluster.")

    @property
    def local(self) -> bool:
        """Only this machine can reach the server."""
        return self.host in _LOOPBACK


def default_data_dir() -> Path:
    if chosen := os.environ.get("ANUBHAV_DATA_DIR"):
        return Path(chosen)
    return platformdirs.user_data_path("anubhav", appauthor=False)


def default_models_dir() -> Path:
    """Shared by all data folders, so that a model is pulled once."""
    return default_data_dir() / "models"


def key_file(data_dir: Path) -> Path:
    return data_dir / "api-key"


def preset_key() -> str | None:
    """The key that was chosen by hand: ANUBHAV_API_KEY, or what the file that ANUBHAV_API_KEY_FILE names holds."""
    key, file = os.environ.get("ANUBHAV_API_KEY"), os.environ.get("ANUBHAV_API_KEY_FILE")
    if key or not file:
        return key
    try:
        return Path(file).expanduser().read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadInput(
            f"The key file {file} cannot be read ({type(problem).__name__})", hint="Set ANUBHAV_API_KEY_FILE anew."
        ) from problem


def find_key(data_dir: Path) -> str | None:
    """The key a command on this machine should use: the preset one, else the one the server keeps."""
    if preset := preset_key():
        return preset
    try:
        return key_file(data_dir).read_text(encoding="ascii").strip()
    except (FileNotFoundError, PermissionError):
        return None
