"""What the doctor finds of Anubhav's own: key, models and what is installed beside the core."""

import stat
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from anubhav.catalog.folders import MANIFEST, read_object, sha256
from anubhav.catalog.library import Library
from anubhav.catalog.sizes import size_of
from anubhav.errors import AnubhavError, MissingPart
from anubhav.settings import find_key, key_file, preset_key
from anubhav.telemetry.machine import find_memory
from anubhav.types.health import Finding, gigabytes
from anubhav.types.models import Model

_EXTRAS = {
    "transformers": "transformers",
    "ray": "ray",
    "parquet": "pyarrow",
    "postgres": "psycopg",
    "otel": "opentelemetry.exporter.otlp.proto.http",
}


def key(folder: Path) -> Finding:
    """Where it comes from and whether others may read it; never the key."""
    try:
        found = find_key(folder)
    except AnubhavError as problem:
        return Finding("key", "fail", problem.message, problem.hint)
    file = key_file(folder)
    if found is None:
        return Finding("key", "ok", "none yet: one is made at the first start")
    if not found.startswith("tml-"):
        return Finding("key", "fail", "it does not begin with tml-", "Set ANUBHAV_API_KEY to tml- and random letters.")
    preset = "the environment" if preset_key() else None
    if preset is None and file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return Finding("key", "warn", f"others may read {file}", f"chmod 600 {file}")
    return Finding("key", "ok", f"from {preset or file}")


def models(folder: Path, names: Sequence[str], *, hashed: bool) -> Iterator[Finding]:
    """Those to be served, and what else is here."""
    library = Library(folder)
    here = [one.name for one in library.list() if one.present]
    for name in dict.fromkeys((*names, *here)):
        check = f"model {name}"
        try:
            yield _model(check, library.find(name), hashed=hashed)
        except MissingPart as lack:
            yield Finding(check, "warn", lack.message, f"{lack.hint}    (or let `anubhav serve` fetch it)")
        except AnubhavError as problem:
            yield Finding(check, "fail", problem.message, problem.hint)
        except (OSError, ValueError) as problem:
            yield Finding(check, "fail", f"its files cannot be read ({type(problem).__name__})", "Pull it again.")


def _model(check: str, model: Model, *, hashed: bool) -> Finding:
    manifest = read_object(model.folder / MANIFEST).get("files", {})
    wrong = [name for name, entry in manifest.items() if hashed and sha256(model.folder / name) != entry["sha256"]]
    if wrong:
        says = f"{', '.join(wrong)} is not what was fetched"
        return Finding(check, "fail", says, f"Remove {model.folder} and pull the model again.")
    size = size_of(model.folder)
    needed, free = 4 * size.parameters, find_memory()[1]
    kept = "hashes hold" if hashed and manifest else "hashes not compared" if manifest else "has no hashes"
    says = f"{size.parameters / 1e6:.0f} M parameters, {gigabytes(needed)} in float32, "
    says += f"reads {model.context_length} tokens, {kept}"
    if needed > 0.8 * free:
        return Finding(
            check, "warn", f"{says}; {gigabytes(free)} are free", "Serve a smaller one, or --dtype bfloat16."
        )
    return Finding(check, "ok", says)


def extras() -> Iterator[Finding]:
    for extra, module in _EXTRAS.items():
        there = _installed(module)
        yield Finding(f"extra {extra}", "ok", "there" if there else f"not there: pip install 'anubhav[{extra}]'")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
