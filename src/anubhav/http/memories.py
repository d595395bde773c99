"""Memory as any dialect asks for it: a field of the body, or a header where a client's body cannot be changed."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from anubhav.errors import BadInput
from anubhav.flows.chat import Reply
from anubhav.types.remembering import MemoryUse


class Memory(BaseModel):
    """Strict: what is misspelt here would be forgotten without a word."""

    model_config = ConfigDict(extra="forbid", strict=True)

    budget: Annotated[int, Field(ge=64, le=1_000_000)] | None = None
    """Tokens of the prompt; usually 2048."""
    scope: Literal["session", "user"] = "session"


MemoryField = bool | Memory | None
"""true: the usual one, of the session."""


def memory_use(asked: Any, header: str | None) -> MemoryUse | None:
    """`asked`: the field of the body, which goes first. Raises BadInput for a header that says nothing known."""
    if isinstance(asked, Memory):
        return MemoryUse(asked.budget, asked.scope)
    if isinstance(asked, bool):
        return MemoryUse() if asked else None
    said = header.strip().lower() if header else "off"
    if said not in ("off", "session", "user"):
        raise BadInput(f"X-Anubhav-Memory is {said[:50]!r}", hint="Send session, user or off.")
    return None if said == "off" else MemoryUse(scope="user" if said == "user" else "session")


def headers_of(reply: Reply) -> dict[str, str]:
    """Which memory a reply had, and which state of it."""
    return {"x-anubhav-memory": reply.memory} if reply.memory else {}
