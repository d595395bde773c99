"""Whether a tenant's quota has room for an operation: asked in the transaction that would journal it."""

from anubhav.store import quotas, runs
from anubhav.store.database import Connection
from anubhav.types.ids import RunId
from anubhav.types.operations import Compute, Distil, Operation, Save


def check_quota(connection: Connection, tenant: str, run: RunId, seq: int, operation: Operation) -> None:
    """Raises NotAllowed, Spent or Busy when there is none."""
    quota = quotas.find(connection, tenant)
    if seq == 0:
        quota.check_runs(quotas.open_runs(connection, tenant))
    if isinstance(operation, Save):
        quota.check_storage(quotas.stored_bytes(connection, tenant))
    if runs.comes_before(connection, run, seq):
        return  # what was accepted behind it waits for it, and is only passed over should it be refused
    if isinstance(operation, Compute | Distil):
        quota.check_tokens(quotas.tokens_today(connection, tenant))
    if quota.queue is not None:
        quota.check_queue(quotas.waiting(connection, tenant))


def check_storage(connection: Connection, tenant: str, more: int = 0) -> None:
    """The same for checkpoints that are no operation's. Raises NotAllowed when `more` bytes are too many."""
    quotas.find(connection, tenant).check_storage(quotas.stored_bytes(connection, tenant), more)
