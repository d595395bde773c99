"""A plan made in a process of its own, so that whoever asks for it goes on answering meanwhile."""

from collections.abc import Mapping
from typing import Any

from anubhav.backends import apart
from anubhav.errors import Unavailable

_SECONDS = 180.0


async def plan_apart(wishes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `answering.answer` gives. Raises BadInput for what cannot be planned, Unavailable when it takes too long."""
    try:
        return await apart.ask(__name__, wishes, _SECONDS)
    except TimeoutError as late:
        raise Unavailable(
            f"The plan was not there after {_SECONDS:.0f} seconds", hint="Name a layout, or use `anubhav plan`."
        ) from late


def main() -> None:
    from anubhav.cluster.planning.answering import answer

    apart.answer(lambda wishes: answer(wishes, None))


if __name__ == "__main__":
    main()
