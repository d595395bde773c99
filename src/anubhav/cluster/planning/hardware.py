"""The hardware that an estimate assumes: figures of data sheets by name, each of which can be set otherwise.

Prices are assumptions to be replaced by one's own; they are no offers.
"""

from dataclasses import dataclass

from anubhav.errors import BadInput

GB = 10**9


@dataclass(frozen=True, slots=True)
class Hardware:
    name: str
    memory: int
    """Bytes of a card."""
    flops: float
    """Dense bf16 FLOP/s at its peak."""
    bandwidth: float
    """Bytes a second of the card's memory."""
    link: float
    """Bytes a second between cards of a node, one direction."""
    network: float
    """Bytes a second between nodes, for each card."""
    price: float
    """Of a card and hour."""
    node: int = 8
    """Cards of a node."""
    usable: float = 0.85
    """The share of the memory that a plan may fill; the rest is for the runtime, workspaces and fragmentation."""
    efficiency: float = 0.4
    """The share of the peak FLOP/s that large matrices reach in training."""
    latency: float = 20e-6
    """Seconds that a collective takes before its first byte."""

    @property
    def room(self) -> int:
        """Bytes of a card that a plan may fill."""
        return int(self.memory * self.usable)


HARDWARE = {
    one.name: one
    for one in (
        Hardware("a100", 80 * GB, 312e12, 2.0e12, 300e9, 25e9, 1.8),
        Hardware("h100", 80 * GB, 989e12, 3.35e12, 450e9, 50e9, 3.0),
        Hardware("h800", 80 * GB, 989e12, 3.35e12, 200e9, 50e9, 2.5),
        Hardware("h200", 141 * GB, 989e12, 4.8e12, 450e9, 50e9, 3.5),
        Hardware("b200", 180 * GB, 2250e12, 8.0e12, 900e9, 50e9, 5.5),
    )
}


def find_hardware(name: str) -> Hardware:
    if name not in HARDWARE:
        raise BadInput(
            f"There are no figures of {name!r}",
            hint=f"Choose one of {', '.join(HARDWARE)} and set what differs, for example --peak-tflops.",
        )
    return HARDWARE[name]
