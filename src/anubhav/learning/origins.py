"""Origins: which answer and which judgement something to learn from was made of, for lineage."""

from typing import Literal, NamedTuple

Role = Literal["imitated", "replayed", "preferred", "rejected", "liked", "disliked", "reinforced", "rollout"]


class Origin(NamedTuple):
    episode: str
    choice: int
    feedback: str | None
    """The judgement it was used for; None for rollouts, which nobody judged."""
    role: Role
