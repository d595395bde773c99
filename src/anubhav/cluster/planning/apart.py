"""A plan made in a process of its own, so that whoever asks for it goes on answering meanwhile.

`python -m anubhav.cluster.planning.apart` reads the wishes from its input and writes the plan, or why there is none.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from anubhav.errors import AnubhavError, BadInput, Broken, Unavailable

_SECONDS = 180.0


async def plan_apart(wishes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `answering.answer` gives. Raises BadInput for what cannot be planned, Unavailable when it takes too long."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said, _ = await asyncio.wait_for(process.communicate(json.dumps(dict(wishes)).encode()), _SECONDS)
    except TimeoutError as late:
        raise Unavailable(
            f"The plan was not there after {_SECONDS:.0f} seconds", hint="Name a layout, or use `anubhav plan`."
        ) from late
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Broken("The planner ended without a plan", hint="`anubhav plan` with the same wishes says why.")
    answer = json.loads(said)
    if "message" in answer:
        raise BadInput(answer["message"], hint=answer["hint"])
    return answer["plan"]


def main() -> None:
    from anubhav.cluster.planning.answering import answer

    try:
        said: dict[str, Any] = {"plan": answer(json.load(sys.stdin), None)}
    except AnubhavError as problem:
        said = {"message": problem.message, "hint": problem.hint}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
