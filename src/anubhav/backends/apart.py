"""Work in a process of its own, so that whoever asks for it goes on answering meanwhile.

A module that can be asked so calls `answer` when it is run: it reads the wishes from its input and writes what came of
them, or why there is nothing.
"""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from anubhav.errors import AnubhavError, BadInput, Broken

log = logging.getLogger(__name__)
_LAST = 4000
"""Characters of what a process complained about that the log is told."""


async def ask(module: str, wishes: Mapping[str, Any], seconds: float | None = None) -> Any:
    """Raises BadInput for what cannot be done, TimeoutError when it is not there after so many seconds.

    Broken when the process ends without an answer.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        said, complained = await asyncio.wait_for(process.communicate(json.dumps(dict(wishes)).encode()), seconds)
    finally:
        if process.returncode is None:
            # With what it has begun itself, which would keep the pipe open and go on for nobody.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        log.error("%s ended with %s: %s", module, process.returncode, complained.decode(errors="replace")[-_LAST:])
        raise Broken("The process that was to do this ended without an answer", hint="The server's log says more.")
    answered = json.loads(said)
    if "message" in answered:
        raise BadInput(answered["message"], hint=answered["hint"])
    return answered["made"]


def answer(work: Callable[[dict[str, Any]], Any]) -> None:
    """In the process. It gives way to whoever else wants the processor."""
    os.nice(10)
    try:
        said: dict[str, Any] = {"made": work(json.load(sys.stdin))}
    except AnubhavError as problem:
        said = {"message": problem.message, "hint": problem.hint}
    sys.stdout.write(json.dumps(said))
