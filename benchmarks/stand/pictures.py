"""Pictures: how every plot of a report is begun and kept. matplotlib is imported only when one is drawn."""

from pathlib import Path
from typing import Any


def axes_of(across: str, up: str, size: tuple[float, float]) -> tuple[Any, Any]:
    """(figure, axes) with these labels and little around them."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=size)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.3)
    return figure, axes


def save(figure: Any, file: Path) -> Path:
    """Without a date and with fixed names in it: the same runs draw the same file."""
    from matplotlib import pyplot as plt

    figure.tight_layout()
    with plt.rc_context({"svg.hashsalt": "anubhav"}):
        figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
    return file
