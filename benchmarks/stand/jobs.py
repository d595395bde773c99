"""The worker's end of the line: jobs come in as JSON lines, results go out as JSON lines.

Standard library only: it runs in every peer's environment. Whatever a library prints goes to standard error.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

Job = Callable[..., Any]


def answer_jobs(jobs: dict[str, Job]) -> None:
    """Answer until the line is closed. A job that fails is told about and does not end the worker."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = {"result": jobs[asked["job"]](**asked["words"])}
        except Exception as problem:  # noqa: BLE001 - the other end decides
            traceback.print_exc()
            said = {"failed": f"{type(problem).__name__}: {problem}"[:600]}
        answers.write(json.dumps(said) + "\n")
        answers.flush()
