"""The report's plots: true success lap by lap, ours against the others, and poison. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.stand.pictures import axes_of, save

Run = dict[str, Any]
_SIZE = (7.0, 4.0)
_COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8a5a83", "#b08900")


def draw(simulations: Sequence[Run], poisons: Sequence[Run], folder: Path) -> list[tuple[str, Path]]:
    """(title, file) of each plot there is something for. Raises SystemExit where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemExit("Plots need matplotlib: pip install 'anubhav[benchmarks]', or leave --images out.") from None
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, Path]] = []
    if simulations:
        found.append(("True success, lap by lap", _learning(simulations, folder / "loop-learning.svg")))
        found.append(("Methods on the same records", _methods(simulations, folder / "loop-methods.svg")))
    if any(run["t20"] for run in poisons):
        found.append(("Poison", _poison(poisons, folder / "loop-poison.svg")))
    return found


def _learning(runs: Sequence[Run], file: Path) -> Path:
    """One line a run: the base, then after each lap; a lap that was not promoted is a hollow point."""
    figure, axes = axes_of("lap", "true success on the held-out test", _SIZE)
    for run in runs:
        noise, hostile = run["settings"]["noise"], run["settings"]["hostile"]
        colour = _COLOURS[1 if hostile else 2 if noise else 0]
        heights = [run["success_before"], *(row["success"] for row in run["laps"])]
        axes.plot(range(len(heights)), heights, color=colour, alpha=0.6, linewidth=1.2)
        for lap, row in enumerate(run["laps"], 1):
            axes.plot(
                lap, row["success"], "o", color=colour, markersize=5, fillstyle="full" if row["promoted"] else "none"
            )
    for name, colour in (("no noise", _COLOURS[0]), ("noise", _COLOURS[2]), ("hostile raters", _COLOURS[1])):
        axes.plot([], [], color=colour, label=name)
    axes.legend(frameon=False)
    return save(figure, file)


def _methods(runs: Sequence[Run], file: Path) -> Path:
    figure, axes = axes_of("", "true success after the last lap", _SIZE)
    told: dict[str, list[float]] = {"ours": [run["success_after"] for run in runs]}
    for run in runs:
        for name, value in run["baseline_success"].items():
            if value is not None:
                told.setdefault(name, []).append(value)
    for place, values in enumerate(told.values()):
        axes.bar(place, fmean(values), color=_COLOURS[place % len(_COLOURS)], alpha=0.5, width=0.6)
        axes.plot([place] * len(values), values, ".", color="black", markersize=4)
    axes.set_xticks(range(len(told)), list(told))
    return save(figure, file)


def _poison(runs: Sequence[Run], file: Path) -> Path:
    figure, axes = axes_of("hostile share of the feedback", "mean gain in true success", _SIZE)
    cells = [cell for run in runs for cell in run["t20"]]
    clean = [cell["mean_gain"] for cell in cells if not cell["share"]]
    for place, attack in enumerate(sorted({cell["attack"] for cell in cells if cell["share"]})):
        points = [(cell["share"], cell["mean_gain"]) for cell in cells if cell["share"] and cell["attack"] == attack]
        points += [(0.0, fmean(clean))] if clean else []
        points.sort()
        axes.plot(*zip(*points, strict=True), "o-", color=_COLOURS[place % len(_COLOURS)], label=attack, markersize=4)
    axes.legend(frameon=False)
    return save(figure, file)
