"""One command of the `tinker` command line in a process of its own, forked from one that has imported it: a second
faster than starting each anew. It holds nothing else, since the forked process imports this module.
"""

import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tinker", "tinker.cli.__main__", "tinker.cli.commands.checkpoint"])


@dataclass(frozen=True)
class Done:
    returncode: int | None
    stdout: str
    stderr: str


def run(words: tuple[str, ...], environment: dict[str, str], home: Path, typed: str, place: Path) -> Done:
    """`place` is an empty folder of this command's own, for what goes in and out."""
    (place / "0").write_text(typed)
    process = FORKS.Process(target=_command, args=(words, environment, str(home), str(place)))
    process.start()
    process.join(120)
    process.kill()
    return Done(process.exitcode, (place / "1").read_text(), (place / "2").read_text())


def _command(words: tuple[str, ...], environment: dict[str, str], home: str, place: str) -> None:
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(f"{place}/{number}", flags), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a forked process has none
    os.environ.update(environment)
    os.chdir(home)
    sys.argv = ["tinker", *words]
    from tinker.cli.__main__ import main

    main()
