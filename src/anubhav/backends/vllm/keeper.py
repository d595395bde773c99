"""Runs a command for as long as whoever started it lives, and leaves nothing behind. A program of its own.

`python -I keeper.py FD HOME COMMAND …`: FD is the end of a pipe whose other end only the starter holds, so however the
starter ends, this reads its end, removes the folder HOME and kills its own process group, which must be nobody else's.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from types import FrameType

_PR_SET_PDEATHSIG = 1


def main() -> None:
    lifeline, home, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    # Before a second thread runs here, or it would be unsafe to do something in the child before its command.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent)
    signal.signal(signal.SIGTERM, partial(_pass_on, child))
    alone = threading.Event()
    watch = threading.Thread(target=_watch, args=(lifeline, home, child, alone), daemon=True)
    watch.start()
    code = child.wait()
    if alone.is_set():
        watch.join()
    sys.stderr.write(f"The engine ended with code {code}\n")
    sys.stderr.flush()


def _pass_on(child: subprocess.Popen[bytes], _number: int, _frame: FrameType | None) -> None:
    child.terminate()


def _watch(lifeline: int, home: str, child: subprocess.Popen[bytes], alone: threading.Event) -> None:
    while os.read(lifeline, 1):
        pass
    alone.set()
    child.kill()
    shutil.rmtree(home, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
