"""What level a lap is tested at, given the laps before it: LORD++ (Ramdas, Yang, Wainwright, Jordan, NIPS 2017), with
γ_j = 6/(π² j²).

Seven tenths of α are there from the start, spent in falling parts; each promotion earns new parts. If no lap ever
helps, the chance that any is promoted stays below α for ever; if some do, the expected share of false promotions does.
A plain sequence α γ_k would ask the thirtieth lap of a loop that works for p < 6e-5, which one correction cannot give.
"""

import math
from collections.abc import Sequence

ALPHA = 0.05
_START = 0.7 * ALPHA


def level(promoted: Sequence[bool]) -> float:
    """For the next lap; `promoted` tells of each lap judged before it, oldest first, whether the tests passed."""
    now = len(promoted) + 1
    wins = [number for number, won in enumerate(promoted, start=1) if won]
    spent = _START * _part(now)
    for rank, win in enumerate(wins):
        spent += (ALPHA - _START if rank == 0 else ALPHA) * _part(now - win)
    return spent


def _part(number: int) -> float:
    return 6 / (math.pi * number) ** 2
