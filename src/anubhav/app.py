"""The composition root: the only place where the parts of the house are made and joined.

A server first binds its port, so that a taken one is told at once, and answers 503 until the model can speak. What it
was told before it stops is in the journal, so stopping late, early or by force loses nothing that was acknowledged.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from anubhav.backends.opening import Engine
from anubhav.backends.torch.files.exporting import Form, export_apart
from anubhav.catalog.library import Library
from anubhav.cluster.grounds import Grounds
from anubhav.cluster.opening import Choices, open_engines
from anubhav.cluster.planning.apart import plan_apart
from anubhav.cluster.planning.hardware import HARDWARE
from anubhav.cluster.planning.models import MODELS
from anubhav.episodes.conversations import Conversations
from anubhav.episodes.later import Later
from anubhav.episodes.lineage import Lineage
from anubhav.episodes.people import People
from anubhav.episodes.policies import Policies
from anubhav.episodes.recorder import Recorder
from anubhav.episodes.talks import Talks
from anubhav.errors import BadInput, NotFound
from anubhav.flows.house import House
from anubhav.flows.improve import begin_again
from anubhav.flows.keyring import Keyring
from anubhav.flows.links import Links, kept_secret
from anubhav.flows.people import keep_sweeping
from anubhav.flows.plans import Plans
from anubhav.flows.reviewing import keep_reviewing
from anubhav.flows.scheduling import keep_schedules
from anubhav.flows.shadowing import keep_shadowing
from anubhav.flows.tuning import go_on
from anubhav.gates.heard import Heard
from anubhav.gates.probes import ProbeShelf
from anubhav.http.app import create_app
from anubhav.http.door import LOOPBACK
from anubhav.http.doorstep import Doorstep, listen, server_of
from anubhav.http.relay import Relay
from anubhav.memory.policies import MemoryPolicies
from anubhav.memory.shelf import Shelf
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
from anubhav.settings import Settings, key_file
from anubhav.standby import Turn, end_soon, turn
from anubhav.store.database import Database
from anubhav.store.leading import refuse_rows_elsewhere
from anubhav.store.postgres import Deposed
from anubhav.store.vault import DATABASE, Vault
from anubhav.telemetry.traces import exporting
from anubhav.trackers.courier import Courier
from anubhav.trackers.metrics_file import MetricsFile
from anubhav.trackers.opening import open_trackers
from anubhav.training.desk import Desk
from anubhav.training.exports import Exports
from anubhav.training.jobs import JobBook
from anubhav.training.limits import Limits
from anubhav.training.pedigree import Pedigree
from anubhav.training.runbook import RunBook
from anubhav.training.scribe import Scribe
from anubhav.training.uploads import Uploads
from anubhav.types.models import Model

if TYPE_CHECKING:
    from anubhav.backends.torch.means import Means

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ready:
    """What a started server tells whoever started it."""

    url: str
    sign_in: str
    """The console with a token that works once."""
    key: str | None
    """The operator's key; None when it was chosen by hand and needs no printing."""
    models: tuple[str, ...]
    data_dir: Path
    leader: str | None = None
    """The server that leads, when this one stands by."""


def pull_model(name: str, models_dir: Path, report: Report) -> Model:
    """The model, fetched and converted first if it is not there."""

    def convert(gguf: Path, folder: Path) -> None:
        from anubhav.backends.torch.files.convert import convert_gguf

        convert_gguf(gguf, folder)

    return Library(models_dir).pull(name, convert, report)


def export_adapter(adapter: Path, base: Model, to: Path, *, form: Form) -> None:
    """Write the PEFT folder `adapter` into the folder `to`: merged into its base, or as llama.cpp's adapter.gguf."""
    from anubhav.backends.torch.files.exporting import export_adapter as write

    write(adapter, base, to, form=form)


async def back_up(data_dir: Path, to: BinaryIO) -> None:
    """Write the archive of a data folder that no server holds. Raises Unavailable when one does."""
    refuse_rows_elsewhere(data_dir)
    if not (data_dir / DATABASE).is_file():
        raise NotFound(f"There is no data folder of Anubhav at {data_dir}", hint="Name it with --data-dir.")
    with closing(Database(data_dir / DATABASE)) as database:
        async for piece in Vault(database, data_dir).pack():
            to.write(piece)


def plan_cluster(wishes: Mapping[str, Any], to: Path | None) -> dict[str, Any]:
    """What `anubhav plan` shows, as plain values; its files come into the folder `to`, if there is one."""
    from anubhav.cluster.planning.answering import answer

    return answer(wishes, to)


def describe_engine() -> "Means":
    """What an engine in this process would compute with."""
    from anubhav.backends.torch.means import find_means

    return find_means()


def make_vllm_environment(report: Report, *, check: bool) -> bool:
    """Make the environment that vLLM runs in, unless only to `check`. Says what is there, and whether it is ready."""
    from anubhav.backends.vllm.environment import describe, find_environment, make_environment

    environment = find_environment() if check else make_environment(report)
    for line in describe(environment):
        report(line)
    return environment.ready


def serve(settings: Settings, *, report: Report, announce: Callable[[Ready], None]) -> None:
    """Serve until a signal says stop. Raises what keeps a server from starting, each with what to do about it."""
    with closing(listen(settings.host, settings.port)) as listener:
        models = _find_models(settings, report)
        with exporting():
            asyncio.run(_serve(settings, models, listener, announce))


@asynccontextmanager
async def build(
    settings: Settings, models: dict[str, Model], database: Database | None = None
) -> AsyncGenerator[tuple[House, Keyring]]:
    """Everything under the faces: opened, recovered from the journal, and closed in the opposite order.

    `database`: the store, if it is another than the data folder's file.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        database = database or _open_file(settings.data_dir)
        stack.callback(database.close)
        couriers = open_trackers(settings.trackers, settings.data_dir)
        engines: dict[Path, Engine] = {}
        folders = list({model.folder: None for model in models.values()})
        async for folder, engine in open_engines(_choices(settings), folders, stack):
            engines[folder] = engine
        renderers = {folder: Renderer(folder) for folder in engines}
        house = _join(settings, database, models, engines, renderers, couriers)
        stack.push_async_callback(house.scribe.stop)
        house.scribe.start()
        stack.push_async_callback(house.desk.stop)
        stack.push_async_callback(house.sampling.stop)
        stack.push_async_callback(house.laps.stop)
        stack.push_async_callback(house.jobs.stop)
        stack.push_async_callback(house.critic.stop)
        stack.push_async_callback(house.plans.stop)
        stack.push_async_callback(house.exports.stop)
        stack.push_async_callback(house.later.stop)
        await house.later.recover()
        cut = await house.laps.recover()
        await house.desk.recover()
        await house.uploads.recover()
        await begin_again(house, cut)
        await go_on(house)
        for keep in (keep_sweeping, keep_schedules, keep_reviewing, keep_shadowing):
            await stack.enter_async_context(_beside(keep(house), keep.__name__))
        yield house, Keyring(database, kept_secret(settings.data_dir / "token-key"))


def _choices(settings: Settings) -> Choices:
    return Choices(
        settings.dtype, settings.sampler, settings.layout, settings.cluster, settings.samplers, settings.data_dir
    )


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None], name: str) -> AsyncGenerator[None]:
    """It goes on in the background, and is cancelled at the end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _join(
    settings: Settings,
    database: Database,
    models: Mapping[str, Model],
    engines: Mapping[Path, Engine],
    shared: Mapping[Path, Renderer],
    couriers: Sequence[Courier],
) -> House:
    data_dir = settings.data_dir
    renderers = {name: shared[model.folder] for name, model in models.items()}
    trainers = {name: engines[model.folder].trainer for name, model in models.items()}
    samplers = {name: engines[model.folder].sampler for name, model in models.items()}
    runs = RunBook(database)
    scribe = Scribe(runs, MetricsFile(data_dir), couriers)
    desk = Desk(database, trainers, data_dir, Limits(models), scribe=scribe)
    uploads = Uploads(database, data_dir)
    voices = Voices(database, samplers, desk.checkpoints)
    readers = {name: engines[model.folder].reader for name, model in models.items()}
    critic = Critic(database, readers, renderers)
    policies = Policies(database)

    return House(
        models=models,
        library=Library(settings.models_dir),
        renderers=renderers,
        readers=readers,
        desk=desk,
        uploads=uploads,
        jobs=JobBook(database, desk, uploads),
        exports=Exports(database, desk.checkpoints, data_dir, models, export_apart),
        runs=runs,
        scribe=scribe,
        pedigree=Pedigree(database),
        voices=voices,
        sampling=SamplingSessions(database, voices, models, renderers),
        recorder=Recorder(database, policies, renderers),
        conversations=Conversations(database),
        talks=Talks(database, policies),
        later=Later(database),
        policies=policies,
        people=People(database),
        lineage=Lineage(database),
        baselines=Baselines(database),
        critic=critic,
        trust=Trust(database, critic),
        watch=Lookout(critic),
        hearsay=Hearsay(database),
        register=Register(database),
        trials=Trials(database),
        laps=LapBook(database, scribe.tell_lap),
        holds=Holds(database),
        schedules=Schedules(database),
        probes=ProbeShelf(database),
        heard=Heard(),
        links=Links(data_dir / "signing-key"),
        memories=Shelf(database),
        memory_policies=MemoryPolicies(database),
        vault=Vault(database, data_dir),
        plans=Plans(plan_apart, tuple(MODELS), tuple(HARDWARE)),
        data_dir=data_dir,
        configuration=settings.configuration,
        grounds=Grounds(list(engines.values()), far=settings.cluster is not None),
    )


def _open_file(data_dir: Path) -> Database:
    refuse_rows_elsewhere(data_dir)
    return Database(data_dir / DATABASE)


async def _serve(
    settings: Settings, models: dict[str, Model], listener: socket.socket, announce: Callable[[Ready], None]
) -> None:
    front = Relay() if settings.store else Doorstep()
    server = server_of(front)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with AsyncExitStack() as stack:
            lead: Turn | None = None
            if isinstance(front, Relay):
                lead = await stack.enter_async_context(_turn(settings, models, listener, serving, front, announce))
                if lead is None:
                    return
            house, keyring = await stack.enter_async_context(build(settings, models, lead and lead.database))
            key = await _first_key(settings, keyring)
            front.inside = create_app(house, keyring, hosts=LOOPBACK if settings.local else None)
            announce(await _ready(settings, listener, keyring, key, tuple(models)))
            gc.freeze()  # what is here stays: looking through it for garbage would hold everybody up
            try:
                await (lead.over(serving) if lead else serving)
            except Deposed:
                end_soon()
                raise
            if server.force_exit:
                sys.stdout.flush()
                os._exit(128 + signal.SIGTERM)
    finally:
        server.should_exit = True
        await serving
        if isinstance(front, Relay):
            await front.close()


def _turn(
    settings: Settings,
    models: dict[str, Model],
    listener: socket.socket,
    serving: "asyncio.Task[None]",
    relay: Relay,
    announce: Callable[[Ready], None],
) -> AbstractAsyncContextManager[Turn | None]:
    """Of one of several servers, to lead; until then it stands in front of the one that does."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (settings.data_dir / DATABASE).exists():
        raise BadInput("This data folder keeps its rows in SQLite", hint="Leave out --store, or choose another folder.")
    url, place = _url(settings, listener), (settings.host, listener.getsockname()[1])

    def stand_by(leader: str) -> None:
        announce(Ready(url, url, None, tuple(models), settings.data_dir, leader))

    return turn(settings.store or "", settings.data_dir, place, serving, relay, stand_by)


def _find_models(settings: Settings, report: Report) -> dict[str, Model]:
    """Served name → model; the aliases come after the models."""
    found = [pull_model(name, settings.models_dir, report) for name in settings.models]
    models: dict[str, Model] = {}
    for model in found:
        name = model.name.removeprefix("hf:")
        if models.get(name, model).folder != model.folder:
            raise BadInput(f"Two models would be served as {name!r}", hint="Rename one folder, or leave one out.")
        models[name] = replace(model, name=name)
    for served, name in settings.aliases:
        if served in models:
            raise BadInput(f"--alias {served} is the name of a model", hint="Choose another name.")
        models[served] = replace(pull_model(name, settings.models_dir, report), name=served)
    return models


async def _first_key(settings: Settings, keyring: Keyring) -> str:
    """The operator's key: the preset one, the kept one, or a new one that only this user may read."""
    if settings.api_key:
        await keyring.preset(settings.api_key)
        return settings.api_key
    file = key_file(settings.data_dir)
    if file.exists():
        key = file.read_text(encoding="ascii").strip()
        await keyring.preset(key)
        return key
    key = await keyring.add("local", "made at the first start", operator=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(f"{key}\n")
    return key


async def _ready(
    settings: Settings, listener: socket.socket, keyring: Keyring, key: str, models: tuple[str, ...]
) -> Ready:
    url = _url(settings, listener)
    ticket = keyring.issue_ticket(await keyring.check(key), seconds=86_400)
    return Ready(url, f"{url}/?token={ticket}", None if settings.api_key else key, models, settings.data_dir)


def _url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{listener.getsockname()[1]}"
