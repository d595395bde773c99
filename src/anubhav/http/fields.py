"""What bodies of every dialect have in common: bounds, and who talks. Unknown fields are ignored, null means unset."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from anubhav.http.memories import MemoryField

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Long = Annotated[str, StringConstraints(max_length=100_000)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Limit = Annotated[int, Field(ge=1)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
TopK = Annotated[int, Field(ge=-1)]
Seed = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Spoken(Body):
    """Who talks, as clients of any dialect say it; what is no name there is looked over, so it may be anything."""

    metadata: Any = None
    session_id: Any = None
    conversation: Any = None
    client_metadata: Any = None
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    store: Any = None
    """false: keep nothing of it, as with OpenAI. What is not kept can be neither judged nor learned from."""
    memory: MemoryField = None
