"""The report's plots: the time of a turn, the tokens of a prompt and the facts kept over a life. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.stand.pictures import axes_of, save

Run = dict[str, Any]
_SIZE = (7.0, 4.0)
_SHOWN = {
    "diffusion-learned": "#588157", "diffusion-fixed": "#1b6ca8", "full-context": "#c8553d", "recency": "#8a5a83",
    "idf-salience": "#b08900",
}  # fmt: skip


def draw(lives: Sequence[Run], folder: Path) -> list[tuple[str, Path]]:
    """(title, file) of each plot there is something for. Raises SystemExit where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise SystemExit("Plots need matplotlib: pip install 'anubhav[benchmarks]', or leave --images out.") from None
    mpl.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, Path]] = []
    if lives:
        longest = max(lives, key=lambda run: run["turns"])
        found.append(("Facts over a life", _over(longest, "facts", "facts read right, %", folder / "memory-facts.svg")))
        found.append(("Tokens over a life", _over(longest, "tokens", "tokens", folder / "memory-tokens.svg", log=True)))
    if timed := [run for run in lives if _timed(run)]:
        found.append(("Time of a turn", _times(timed, folder / "memory-time.svg")))
    return found


def _over(run: Run, figure_of: str, up: str, file: Path, *, log: bool = False) -> Path:
    figure, axes = axes_of("messages", up, _SIZE)
    for name, colour in _SHOWN.items():
        points = run["policies"].get(name, {}).get("checkpoints", [])
        if points:
            turns = [point["turns"] for point in points]
            axes.plot(turns, [point[figure_of] for point in points], "o-", color=colour, label=name, markersize=4)
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
    axes.legend(frameon=False)
    return save(figure, file)


def _timed(run: Run) -> bool:
    return any(one.get("seconds_late") for one in run["policies"].values())


def _times(runs: Sequence[Run], file: Path) -> Path:
    """Early and late of every length of life that was run."""
    figure, axes = axes_of("messages before", "milliseconds of a turn", _SIZE)
    for name, colour in _SHOWN.items():
        told = [
            (run["turns"], run["policies"][name]) for run in runs if run["policies"].get(name, {}).get("seconds_late")
        ]
        points = {turns: one["seconds_late"] for turns, one in told}
        if told:
            points[150] = min(one["seconds_early"] for _, one in told)
            across = sorted(points)
            axes.plot(across, [1000 * points[at] for at in across], "o-", color=colour, label=name, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False)
    return save(figure, file)
