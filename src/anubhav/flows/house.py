"""The house: every room, made and joined once in `app.py`, handed to the faces and the flows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anubhav.catalog.library import Library
from anubhav.episodes.conversations import Conversations
from anubhav.episodes.later import Later
from anubhav.episodes.lineage import Lineage
from anubhav.episodes.people import People
from anubhav.episodes.policies import Policies
from anubhav.episodes.recorder import Recorder
from anubhav.episodes.talks import Talks
from anubhav.flows.links import Links
from anubhav.flows.plans import Plans
from anubhav.gates.heard import Heard
from anubhav.gates.probes import ProbeShelf
from anubhav.memory.policies import MemoryPolicies
from anubhav.memory.shelf import Shelf
from anubhav.ports import Reader
from anubhav.releases.holds import Holds
from anubhav.releases.laps import LapBook
from anubhav.releases.register import Register
from anubhav.releases.schedules import Schedules
from anubhav.releases.trials import Trials
from anubhav.rendering.renderer import Renderer
from anubhav.rewards.baseline import Baselines
from anubhav.rewards.critic import Critic
from anubhav.rewards.hearsay import Hearsay
from anubhav.rewards.lookout import Lookout
from anubhav.rewards.trust import Trust
from anubhav.serving.sessions import SamplingSessions
from anubhav.serving.voices import Voices
from anubhav.store.vault import Vault
from anubhav.training.desk import Desk
from anubhav.training.exports import Exports
from anubhav.training.jobs import JobBook
from anubhav.training.pedigree import Pedigree
from anubhav.training.runbook import RunBook
from anubhav.training.scribe import Scribe
from anubhav.training.uploads import Uploads
from anubhav.types.health import Setting
from anubhav.types.models import Model


class Grounds(Protocol):
    """What the engines stand on (cluster/grounds.py)."""

    async def posts(self) -> Sequence[Mapping[str, Any]]: ...
    async def nodes(self) -> Sequence[Mapping[str, Any]]: ...
    async def drain(self, node: str) -> Mapping[str, Any]: ...
    async def undrain(self, node: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class House:
    models: Mapping[str, Model]
    """By served name; the first is what aliases start from."""
    library: Library
    renderers: Mapping[str, Renderer]
    readers: Mapping[str, Reader]
    desk: Desk
    uploads: Uploads
    jobs: JobBook
    exports: Exports
    runs: RunBook
    scribe: Scribe
    pedigree: Pedigree
    voices: Voices
    sampling: SamplingSessions
    recorder: Recorder
    conversations: Conversations
    talks: Talks
    later: Later
    policies: Policies
    people: People
    lineage: Lineage
    baselines: Baselines
    critic: Critic
    trust: Trust
    watch: Lookout
    hearsay: Hearsay
    register: Register
    trials: Trials
    laps: LapBook
    holds: Holds
    schedules: Schedules
    probes: ProbeShelf
    heard: Heard
    links: Links
    memories: Shelf
    memory_policies: MemoryPolicies
    vault: Vault
    plans: Plans
    data_dir: Path
    configuration: Sequence[Setting]
    """What the server was started with, as far as whoever started it said so."""
    grounds: Grounds
