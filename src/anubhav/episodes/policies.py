"""Policies: what each tenant lets us keep and learn from, and who opted out. Remembered, since every reply asks."""

from anubhav.episodes.redaction import Redactor, checked, redactor
from anubhav.errors import BadInput
from anubhav.store import people
from anubhav.store.database import Connection, Database
from anubhav.types.people import Policy


class Policies:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Policy] = {}

    async def of(self, tenant: str) -> Policy:
        if tenant not in self._known:
            self._known[tenant] = await self._database.run(lambda c: people.find_policy(c, tenant))
        return self._known[tenant]

    async def redactor(self, tenant: str) -> Redactor | None:
        """None where nothing is to be taken out."""
        patterns = (await self.of(tenant)).patterns
        return redactor(patterns) if patterns else None

    async def keep(self, tenant: str, policy: Policy) -> Policy:
        """The whole policy, from the next reply on. Raises BadInput for patterns and times that cannot be."""
        checked(policy.patterns)
        if policy.keep_days is not None and not 0 < policy.keep_days <= 36_500:
            raise BadInput("keep_days is more than 0 and at most 36500", hint="Leave it out to keep everything.")

        def keep(connection: Connection) -> None:
            people.keep_policy(connection, tenant, policy)
            people.keep_audit(connection, tenant, "policy_set", {"train": policy.train, "keep_days": policy.keep_days})

        await self._database.run(keep)
        self._known[tenant] = policy
        return policy

    async def opt_out(self, tenant: str, user: str, *, out: bool) -> None:
        """What a user says is learned from no more, whenever it was said; or again."""
        await self._database.run(lambda c: people.opt_out(c, tenant, user, out=out))

    async def opted_out(self, tenant: str, user: str) -> bool:
        return await self._database.run(lambda c: people.opted_out(c, tenant, user))
