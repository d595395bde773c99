"""What the Anubhav API takes: strict types and bounded sizes, so that what is wrong is refused before anything runs."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from anubhav.types.models import Scope

Text = Annotated[str, StringConstraints(min_length=1, max_length=32_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Tag = Annotated[str, StringConstraints(pattern=r"^\w[\w -]{0,39}$")]
Score = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Feedback(Body):
    target: Id | None = None
    """A reply's id (`ep_…`), or `ep_…:2` for its third choice."""
    session: Id | None = None
    """Instead of a target: the last main reply of this session."""
    kind: Literal["thumb", "rating", "correction", "comparison", "outcome"]
    value: bool | int | Score | Annotated[str, StringConstraints(max_length=200)] | None = None
    """thumb: true or false, 1 or 0, up or down. rating and outcome: 0 to 1. comparison: the reply that lost."""
    text: Annotated[str, StringConstraints(max_length=32_000)] | None = None
    rater: Id | None = None
    id: Id | None = None
    """The client's own id: sent again, it counts once."""
    tags: Annotated[list[Tag], Field(max_length=8, default_factory=list)]
    """Words of the rater's own, as `rude` or `wrong price`, for people who look at it."""


FeedbackBatch = Annotated[list[Feedback], Field(min_length=1, max_length=1000)]


class Message(Body):
    role: Literal["system", "user", "assistant"]
    content: Text


class Probe(Body):
    suite: Annotated[str, StringConstraints(pattern=r"^(target|guard)[a-z0-9-]{0,60}$")]
    check: Literal["exact", "contains", "likelihood"]
    question: Text | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=100)] | None = None
    expected: Text

    @model_validator(mode="after")
    def _one_prompt(self) -> "Probe":
        if (self.question is None) == (self.messages is None):
            raise ValueError("give either question or messages")
        return self


class Probes(Body):
    alias: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "default"
    """A name that is no alias yet becomes one, answering as the first base model until a lap teaches it."""
    probes: Annotated[list[Probe], Field(min_length=1, max_length=500)]


class Lap(Body):
    alias: Name = "default"


class Rollback(Body):
    alias: Name = "default"
    why: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    who: Annotated[str, StringConstraints(max_length=200)] = ""
    to: Id | None = None
    """An earlier release; the one before, when none is named."""


Limit = Annotated[int, Field(ge=0, le=1 << 60)] | None
"""None: there is none."""


class Quota(Body):
    """Of a tenant, all its keys together."""

    tokens_a_day: Limit = None
    runs: Limit = None
    storage_bytes: Limit = None
    queue: Limit = None


Count = Annotated[int, Field(ge=1, le=100_000_000)]
Figure = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PlanWishes(Body):
    """As `anubhav plan` takes them."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    gpus: Annotated[int, Field(ge=1, le=65_536)] = 8
    gpu: Annotated[str, StringConstraints(max_length=40)] = "h100"
    rank: Annotated[int, Field(ge=1, le=1024)] = 32
    experts: Literal["tied", "per-expert", "shared-outer", "rank-normalised"] = "shared-outer"
    targets: Literal["tinker", "all-linear"] = "tinker"
    sequence: Count = 4096
    batch: Count = 64
    cached: Count = 1
    layout: Annotated[str, StringConstraints(max_length=200)] | None = None
    memory: Figure | None = None
    flops: Figure | None = None
    bandwidth: Figure | None = None
    link: Figure | None = None
    network: Figure | None = None
    price: Figure | None = None
    node: Annotated[int, Field(ge=1, le=1024)] | None = None
    usable: Figure | None = None
    efficiency: Figure | None = None


class CheckpointChange(Body):
    """What is left out stays."""

    ttl_seconds: int | None = None
    """An hour to ten years from now; null: for ever."""
    public: bool | None = None


class Export(Body):
    form: Literal["merged", "gguf"]
    """merged: a whole model folder, the adapter added to its base. gguf: llama.cpp's adapter.gguf."""


class Key(Body):
    tenant: Name
    note: Annotated[str, StringConstraints(max_length=200)] = ""
    operator: bool = False
    prefix: Literal["tml", "sk"] = "tml"
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=5)] | None = None
    """None: all of them."""
    quota: Quota | None = None
    """None: the tenant's stays as it is."""
