"""Sight: which models can be shown pictures. Leaving one out unsaid would be to answer another question."""

from collections.abc import Sequence

from anubhav.errors import BadInput
from anubhav.types.chat import Message
from anubhav.types.models import Model


def check_sight(messages: Sequence[Message], model: Model) -> None:
    """Raises BadInput for pictures: no family that is computed here has a part that sees."""
    if any(message.images for message in messages):
        raise BadInput(
            f"{model.name} cannot see: it reads text only, and has no part that reads images",
            hint="Send the words alone. GET /v1/models lists what is served; none of it sees in this build.",
        )
