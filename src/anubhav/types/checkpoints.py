"""Saved adapters and their `tinker://` names, parsed here and nowhere else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from anubhav.errors import BadInput
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.training import LoraSpec

Kind = Literal["weights", "sampler_weights", "external_weights"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MIN_TTL, MAX_TTL = 3600, 10 * 366 * 86_400
"""Seconds a checkpoint may be given to live: an hour to ten years."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")


@dataclass(frozen=True, slots=True)
class TinkerPath:
    """`tinker://<run>/<weights|sampler_weights|external_weights>/<name>` (SDK: types/checkpoint.py)."""

    run: RunId
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"tinker://{self.run}/{self.kind}/{self.name}"


def parse_path(text: str) -> TinkerPath:
    """Raises BadInput unless `text` is a well-formed checkpoint path: no `..`, `%`, backslash or extra segment.

    `mint://` is read as `tinker://`: what MinT's users have written down.
    """
    scheme, _, rest = text.partition("://")
    parts = rest.split("/")
    if scheme not in ("tinker", "mint") or len(parts) != 3 or parts[1] not in KINDS:
        raise BadInput(
            f"{text[:200]!r} is not a checkpoint path",
            hint=f"Write tinker://<run id>/<kind>/<name>, where <kind> is {' or '.join(KINDS)}.",
        )
    if not _RUN.fullmatch(parts[0]):
        raise BadInput(f"{parts[0][:200]!r} is not a run id", hint="Copy the run id as the server gave it.")
    return TinkerPath(RunId(parts[0]), parts[1], checked_name(parts[2]))


def checked_name(name: str) -> str:
    """The name itself; raises BadInput when it could not be one path segment on every file system."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadInput(
            f"{name[:200]!r} is not a checkpoint name",
            hint="Use up to 128 letters, digits, '.', '_' or '-', beginning with a letter or a digit.",
        )
    return name


def checked_ttl(seconds: int | None) -> int | None:
    """The time to live itself, None being for ever; raises BadInput outside the limits."""
    if seconds is not None and not MIN_TTL <= seconds <= MAX_TTL:
        raise BadInput(
            f"ttl_seconds {seconds} is outside {MIN_TTL}..{MAX_TTL}", hint="Give an hour to ten years, or leave it out."
        )
    return seconds


@dataclass(frozen=True, slots=True)
class Checkpoint:
    path: TinkerPath
    tenant: str
    base_model: str
    spec: LoraSpec
    adapter: AdapterId
    """`ad_` and a hash of the weights: what samplers call it."""
    folder: str
    """Where it lies, relative to the data folder."""
    has_optimizer: bool
    size_bytes: int
    created_at: float
    """Seconds since the epoch."""
    public: bool = False
    """Every tenant may read it."""
    expires_at: float | None = None
    """From then on it is gone, unless an alias answers with it."""
    metadata: Mapping[str, str] | None = None
    """What its user wrote on it."""
