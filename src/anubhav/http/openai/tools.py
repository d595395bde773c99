"""Tools in the words of OpenAI's chat API. Kinds that only OpenAI runs are passed over, as clients expect."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from anubhav.errors import BadInput
from anubhav.http.tools import Wanted, declared, wanted

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.\-]+$")]


class Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Function(Lenient):
    name: Name
    description: Annotated[str, StringConstraints(max_length=100_000)] | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(Lenient):
    type: Annotated[str, StringConstraints(max_length=100)]
    function: Function | None = None


class Named(Lenient):
    name: Name


class Chosen(Lenient):
    type: str
    function: Named | None = None


ToolChoice = str | Chosen
Tools = Annotated[list[ToolBody], Field(max_length=1024)]


def read_tools(tools: list[ToolBody] | None, choice: ToolChoice | None, *, several: bool | None) -> Wanted:
    """Raises BadInput for a choice that no tool fits."""
    functions = [tool.function for tool in tools or () if tool.type == "function" and tool.function]
    found = [declared(one.name, one.description, one.parameters, strict=bool(one.strict)) for one in functions]
    return wanted(found, _choice(choice), several=several is True)


def _choice(choice: ToolChoice | None) -> str | tuple[str, ...]:
    if choice is None or choice == "":
        return "auto"
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            raise BadInput(f"tool_choice is {choice[:50]!r}", hint="Send none, auto, required, or a function's name.")
        return choice
    if choice.type != "function" or choice.function is None:
        raise BadInput(f"tool_choice of type {choice.type[:50]!r} is not in this build", hint="Name a function.")
    return (choice.function.name,)
