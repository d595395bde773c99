"""One run of a command and of all that it starts, which ends as a whole: asked to, made to, or with us.

Until the end its keeper is not waited for, as only so does its number keep naming this process group and no other.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from anubhav.backends.vllm import keeper

_LOOK: Final = 0.05


class Process:
    def __init__(self, command: Sequence[str], surroundings: Mapping[str, str], home: Path, log: Path) -> None:
        """When we end without a word, `home` is removed as well."""
        read, self._lifeline = os.pipe()
        with log.open("ab") as out:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", keeper.__file__, str(read), str(home), *command],
                env=surroundings, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                cwd=home, pass_fds=(read,), start_new_session=True,
            )  # fmt: skip
        os.close(read)
        self._clearing = threading.Lock()

    @property
    def id(self) -> int:
        """Of the keeper, and of the process group."""
        return self._keeper.pid

    @property
    def ended(self) -> bool:
        with self._clearing:
            return self._keeper.returncode is not None or self._waits()

    def stop(self, seconds: float) -> None:
        """Ask it to end, and let it take its time."""
        with self._clearing:
            if self._keeper.returncode is None:
                os.kill(self.id, signal.SIGTERM)
        until = time.monotonic() + seconds
        while not self.ended and time.monotonic() < until:
            time.sleep(_LOOK)

    def clear_away(self) -> None:
        """Whatever is left of it. Safe to call twice."""
        with self._clearing:
            if self._keeper.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self.id, signal.SIGKILL)
                self._keeper.wait()
                os.close(self._lifeline)

    def _waits(self) -> bool:
        """Whether the keeper has ended and its number is still its own."""
        return os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
