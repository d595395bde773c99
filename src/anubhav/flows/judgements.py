"""Judgements as an operator looks at them: whose they are, what they are about, and what became of them."""

from collections.abc import Sequence

from anubhav.flows.house import House
from anubhav.rewards.curves import Miss
from anubhav.rewards.votes import rater_of
from anubhav.store.judgements import Row
from anubhav.types.experience import FeedbackKind
from anubhav.types.looking import Judgement


async def judgements(
    house: House,
    alias: str,
    before: int | None,
    limit: int,
    *,
    tenant: str | None = None,
    kind: FeedbackKind | None = None,
    rater: str | None = None,
) -> list[Judgement]:
    """Newest first; every tenant's when `tenant` is None. `rater` as the critic names raters."""
    return _told(*await house.conversations.judgements(alias, before, limit, tenant=tenant, kind=kind, rater=rater))


async def mistakes(house: House, alias: str, missed: Sequence[Miss]) -> list[tuple[float, Judgement]]:
    """The judgements that the critic expected least, with the chance it gave them; without those that are gone."""
    chances = {one.seq: one.chance for one in missed}
    found = _told(*await house.conversations.judged_at(alias, list(chances)))
    return [(chances[one.feedback.seq], one) for one in found]


def _told(rows: Sequence[Row], read: int) -> list[Judgement]:
    return [_judgement(row, read) for row in rows]


def _judgement(row: Row, read: int) -> Judgement:
    one, reply = row.feedback, row.episode
    asked = next((said.content for said in reversed(reply.messages) if said.role == "user"), "") if reply else ""
    answer = reply.choices[one.choice].text if reply and one.choice < len(reply.choices) else ""
    became = "used" if row.laps else "waits" if one.seq > read else "passed over"
    return Judgement(one, rater_of(one, reply.user if reply else None), asked, answer, became, row.laps)
