"""`anubhav backup` and `anubhav restore`: the data folder as one file, and back."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import click

from anubhav.cli.archive import unpack, verify
from anubhav.cli.failures import Unreachable
from anubhav.cli.remote import Remote, takes_remote
from anubhav.errors import BadInput
from anubhav.settings import default_data_dir

_KEPT = {"models"}
"""May lie in the folder already: a backup has no models."""


@click.command()
@click.argument("to", type=click.Path(path_type=Path))
@takes_remote
def backup(remote: Remote, *, to: Path) -> None:
    """Write the data folder into the tar archive TO, while the server runs or when none does.

    It holds what people said, and keys: keep it as you keep the folder itself. Models are not in it.
    """
    to = to.expanduser().absolute()
    if to.exists():
        raise BadInput(f"{to} exists already", hint="Choose the name of a file that is not there.")
    descriptor, name = tempfile.mkstemp(prefix=".backup-", dir=to.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            _fetch(remote, out)
            out.flush()
            os.fsync(out.fileno())
        count, size = verify(draft)
        draft.rename(to)
    finally:
        draft.unlink(missing_ok=True)
    click.echo(f"{count} files, {size / 1e6:.1f} MB, lie in {to}; their hashes hold")


def _fetch(remote: Remote, out: BinaryIO) -> None:
    """From the server, or from the folder itself when no server answers."""
    try:
        remote.save("/v1/backup", out)
    except Unreachable as nobody:
        if not (remote.data_dir / "anubhav.db").is_file():
            raise
        from anubhav.app import back_up

        click.echo(f"{nobody.message}: reading {remote.data_dir} itself", err=True)
        asyncio.run(back_up(remote.data_dir, out))


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=default_data_dir)
def restore(source: Path, data_dir: Path) -> None:
    """Make a data folder from the archive FROM, every file compared with its hash first.

    The folder must be empty or not there, models apart: nothing is overwritten.
    """
    folder = data_dir.expanduser().absolute()
    if folder.exists() and {entry.name for entry in folder.iterdir()} - _KEPT:
        raise BadInput(f"{folder} is not empty", hint="Move it away, or name another with --data-dir.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix=".restoring-", dir=folder))
    try:
        count, size = unpack(source, draft)
        for entry in sorted(draft.iterdir()):
            entry.rename(folder / entry.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    click.echo(f"{count} files, {size / 1e6:.1f} MB, lie in {folder}. Type: anubhav serve --data-dir {folder}")
