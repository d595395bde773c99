"""Trials: a candidate that passed the gate is heard by more and more people, and everybody's verdict is kept.

Only the store knows how far a trial is, so it goes on after a restart.
"""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Literal

from anubhav.errors import BadInput
from anubhav.releases.placing import place
from anubhav.releases.shadows import LEAST, Shadows
from anubhav.releases.tallies import Tallies
from anubhav.store import releases, tallies, trials
from anubhav.store.database import Connection, Database
from anubhav.telemetry.metrics import count_release
from anubhav.types.experience import Arm, Release
from anubhav.types.ids import new_id
from anubhav.types.releases import Rate, ReleasePolicy, Trial, TrialState

SHADOW = -1
"""The step of a trial that nobody hears yet."""
_PLAIN = ReleasePolicy()
_SUFFIX: Mapping[Arm, str] = {"stable": "", "canary": "@candidate", "holdback": "@base"}


class Trials:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.shadows = Shadows(database)
        self.tallies = Tallies(database)
        self._salt = secrets.token_bytes(32)
        """Of this process alone, so that nothing can be told from a failure's row."""

    async def place(self, model: str, tenant: str, person: str | None) -> tuple[Arm, str]:
        """The arm that answers this person, and the name of its voice. Who names a voice hears that one."""
        if any(mark in model for mark in ("@", "://")):
            return "asked", model
        policy, trial = await self._database.recall(
            ("trial", model), lambda c: (trials.find_policy(c, model), trials.running(c, model))
        )
        arm = place(policy or _PLAIN, trial, model, f"{tenant}/{person}" if person else None)
        return arm, model + _SUFFIX[arm]

    async def policy(self, alias: str) -> ReleasePolicy:
        return await self._database.run(lambda c: trials.find_policy(c, alias)) or _PLAIN

    async def set_policy(self, alias: str, policy: ReleasePolicy) -> ReleasePolicy:
        """Raises BadInput for steps that do not grow. What runs goes on by the new rules."""
        if list(policy.steps) != sorted({*policy.steps}) or not all(0 < step <= 100 for step in policy.steps):
            raise BadInput("Steps are growing percentages, each 1 to 100", hint="For example 1, 5, 25, 100.")
        if policy.shadow and policy.shadow < LEAST:
            raise BadInput(
                f"{policy.shadow} prompts in the shadow would tell nothing of a candidate",
                hint=f"Give {LEAST} or more; 0 lets it be heard at once.",
            )
        if not 0 <= policy.holdback <= 50:
            raise BadInput("At most half of the people can be held back", hint="5 or 10 measure lift.")

        def keep(connection: Connection) -> ReleasePolicy:
            before = trials.find_policy(connection, alias) or _PLAIN
            same = before.holdback == policy.holdback
            kept = replace(policy, since=before.since if same else time.time())
            trials.put_policy(connection, alias, kept)
            return kept

        return await self._database.run(keep)

    async def running(self, alias: str) -> Trial | None:
        return await self._database.run(lambda c: trials.running(c, alias))

    async def recent(self, alias: str, limit: int = 10) -> list[Trial]:
        """Newest first."""
        return await self._database.run(lambda c: trials.recent(c, alias, limit))

    async def failed(self, alias: str, arm: Arm, cause: str) -> None:
        """A reply ended in an error. The same cause again is the same failure: clients repeat what went wrong."""
        name = hashlib.blake2b(cause.encode(), key=self._salt, digest_size=16).hexdigest()
        await self._database.run(lambda c: trials.add_failure(c, alias, arm, name, time.time()))

    async def rates(self, trial: Trial) -> tuple[Rate, Rate]:
        """How often candidate and release failed since the trial came to its step."""
        return await self._database.run(lambda c: (trials.rate(c, trial, "canary"), trials.rate(c, trial, "stable")))

    async def waits(self, alias: str, arm: Arm, since: float, limit: int = 200) -> list[float]:
        """Seconds until the first word of an arm's newest replies."""
        return await self._database.run(lambda c: trials.pace(c, alias, arm, since, limit))

    async def advance(self, trial: Trial, why: str) -> bool:
        """One step on, from the shadow to the first; the last one promotes it.

        False when somebody else changed the trial meanwhile.
        """

        def work(connection: Connection) -> bool:
            policy = trials.find_policy(connection, trial.alias) or _PLAIN
            if trials.running(connection, trial.alias) != trial:
                return False
            following = trial.step + 1
            if following < len(policy.steps) and policy.steps[following] < 100:
                trials.put_trial(connection, replace(trial, step=following, since=time.time(), reason=why))
                return True
            _end(connection, trial, "promoted", why)
            releases.add(connection, _release(trial, "promote", trial.who, why))
            count_release("promote")
            return True

        return await self._database.run(work)

    async def give_up(self, alias: str, who: str, why: str, only: str | None = None) -> Release | None:
        """End what is tried out (or just the trial `only`); None when it is not. The next request hears the release."""

        def work(connection: Connection) -> Release | None:
            trial = trials.running(connection, alias)
            return None if trial is None or only not in (None, trial.id) else end(connection, alias, who, why)

        if ended := await self._database.run(work):
            count_release(ended.action)
        return ended

    async def tried_now(self) -> list[str]:
        """Aliases with a trial that runs."""
        return await self._database.run(trials.tried_now)


def end(connection: Connection, alias: str, who: str, why: str, state: TrialState = "rolled back") -> Release | None:
    """Within a transaction: what is tried out is given up, and the history says so; None when nothing is."""
    trial = trials.running(connection, alias)
    if trial is None:
        return None
    _end(connection, trial, state, why)
    release = _release(trial, "discard", who, why)
    releases.add(connection, release)
    return release


def begin(connection: Connection, release: Release) -> None:
    """In the transaction that settles a lap: what was tried until now is replaced."""
    now = time.time()
    if before := trials.running(connection, release.alias):
        _end(connection, before, "replaced", f"{release.lap} brought a newer candidate")
    first = SHADOW if (trials.find_policy(connection, release.alias) or _PLAIN).shadow else 0
    trials.put_trial(
        connection,
        Trial(
            new_id("tr"), release.alias, release.path or "", release.adapter or "", release.lap or "", release.who,
            first, now, now,
        ),
    )  # fmt: skip


def describe(trial: Trial, policy: ReleasePolicy) -> dict[str, object]:
    """The trial with the share that hears it now."""
    unheard = trial.step == SHADOW or not policy.steps
    share = 0 if unheard else policy.steps[min(trial.step, len(policy.steps) - 1)]
    stage = "shadow" if trial.step == SHADOW else "canary"
    return {**asdict(trial), "stage": stage, "percent": share if trial.state == "running" else None}


def _end(connection: Connection, trial: Trial, state: TrialState, why: str) -> None:
    trials.put_trial(connection, replace(trial, state=state, reason=why, ended_at=time.time()))
    trials.drop_failures(connection, trial.alias)
    tallies.drop(connection, trial.alias)


def _release(trial: Trial, action: Literal["promote", "discard"], who: str, why: str) -> Release:
    """Without a verdict: the gate's stands at the lap's own entry, which a lap has once."""
    now = time.time()
    return Release(new_id("rel"), trial.alias, trial.path, trial.adapter, action, who, why, now, trial.lap)
