"""How the ranks of a trainer share a model: the words that a plan writes, `--layout` takes and the trainer goes by."""

from dataclasses import asdict, dataclass

from anubhav.errors import BadInput

AXES = ("tp", "pp", "ep", "sp", "fsdp")


@dataclass(frozen=True, slots=True)
class Layout:
    """So many ranks as tp × fsdp × pp."""

    tp: int = 1
    """Ranks that split every matrix and compute the same tokens."""
    pp: int = 1
    """Stages of layers."""
    ep: int = 1
    """Ranks that split the experts; they are among the tp × fsdp ranks of a stage."""
    sp: int = 1
    """Ranks of the FSDP axis that split each sequence (Ulysses)."""
    fsdp: int = 1
    """Ranks that split the weights at rest, gather a layer at a time, and compute different tokens."""

    @property
    def ranks(self) -> int:
        return self.tp * self.pp * self.fsdp

    @property
    def stage_ranks(self) -> int:
        """Those that hold the same layers between them."""
        return self.tp * self.fsdp

    @property
    def efsdp(self) -> int:
        """The ranks that have the same experts and shard them among themselves."""
        return self.stage_ranks // self.ep

    @property
    def batches(self) -> int:
        """Sequences that are computed at the same time, each by sp × tp ranks of a stage."""
        return self.fsdp // self.sp

    def __str__(self) -> str:
        """As `parse_layout` reads it."""
        return ",".join(f"{axis}={size}" for axis, size in asdict(self).items() if size != 1) or "tp=1"


def parse_layout(text: str) -> Layout:
    """`tp=2,fsdp=8,ep=16`; what is not named is 1."""
    sizes: dict[str, int] = {}
    for part in text.split(","):
        axis, _, size = part.strip().partition("=")
        if axis not in AXES or not size.isdecimal() or int(size) < 1:
            raise BadInput(
                f"{part.strip()!r} is no part of a layout",
                hint=f"Write AXIS=SIZE with the axes {', '.join(AXES)}, for example tp=2,fsdp=8,ep=16.",
            )
        sizes[axis] = int(size)
    return Layout(**sizes)
