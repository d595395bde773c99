"""The command line. Commands load what they need when they run, so `anubhav --help` answers at once."""

import click

from anubhav.cli.adapters import export, import_adapter
from anubhav.cli.backup import backup, restore
from anubhav.cli.cluster import cluster
from anubhav.cli.config import config
from anubhav.cli.demo import demo
from anubhav.cli.doctor import doctor
from anubhav.cli.episodes import episodes
from anubhav.cli.failures import Group
from anubhav.cli.feedback import feedback
from anubhav.cli.keys import key
from anubhav.cli.laps import lap
from anubhav.cli.launch import launch
from anubhav.cli.memory import memory
from anubhav.cli.models import models
from anubhav.cli.people import erase, policy
from anubhav.cli.plan import plan
from anubhav.cli.probes import probes, verdicts
from anubhav.cli.releases import canary, lift, releases, rollback
from anubhav.cli.rewards import rewards
from anubhav.cli.run import run
from anubhav.cli.serve import serve
from anubhav.cli.setup import setup
from anubhav.cli.status import status
from anubhav.cli.trace import trace
from anubhav.cli.verify import verify


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anubhav")
def main() -> None:
    """A small model that learns from being used.

    Begin with `anubhav demo`, or with `anubhav serve` and any OpenAI or Tinker client.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by the gate, 4 server not reachable, 130 interrupted.
    """


for command in (
    rewards,
    serve,
    demo,
    doctor,
    config,
    run,
    launch,
    lap,
    releases,
    rollback,
    canary,
    lift,
    status,
    feedback,
    episodes,
    trace,
    erase,
    policy,
    memory,
    probes,
    verdicts,
    models,
    key,
    backup,
    restore,
    export,
    import_adapter,
    verify,
    plan,
    cluster,
    setup,
):
    main.add_command(command)
