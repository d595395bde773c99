"""Trackers by name. What a tracker needs is looked for when the server starts, and imported in its own thread."""

from importlib.util import find_spec
from pathlib import Path

from anubhav.errors import MissingPart
from anubhav.ports import Tracker
from anubhav.trackers.courier import Courier
from anubhav.trackers.to_mlflow import MlflowTracker
from anubhav.trackers.to_trackio import TrackioTracker
from anubhav.trackers.to_wandb import WandbTracker


def open_trackers(names: tuple[str, ...], data_dir: Path) -> list[Courier]:
    """Raises MissingPart for one whose package is not installed."""
    for name in names:
        if find_spec(name) is None:
            raise MissingPart(f"The tracker {name} is not installed", hint=f"pip install 'anubhav[{name}]'")
    return [Courier(_make(name, data_dir)) for name in dict.fromkeys(names)]


def _make(name: str, data_dir: Path) -> Tracker:
    if name == "wandb":
        return WandbTracker(data_dir / "trackers")
    return MlflowTracker() if name == "mlflow" else TrackioTracker()
