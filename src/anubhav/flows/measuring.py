"""Measuring: what a scrape of the metrics looks up, as it stands at that moment."""

from collections.abc import Sequence

from anubhav import __version__
from anubhav.flows.house import House
from anubhav.telemetry.metrics import Gauge


async def measure(house: House) -> Sequence[Gauge]:
    sessions = await house.desk.sessions.count()
    return (
        Gauge("anubhav_build_info", "The version that runs.", "version", {__version__: 1}),
        Gauge("anubhav_training_queue", "Operations without an outcome, by state.", "state", house.desk.queue),
        Gauge("anubhav_training_runs", "Runs in their trainers' memory.", "state", {"awake": house.desk.awake}),
        Gauge("anubhav_sessions", "Training sessions of all tenants.", "state", {"open": sessions}),
        Gauge("anubhav_adapters_attached", "Adapters ready to speak.", "model_name", house.voices.attached),
    )
