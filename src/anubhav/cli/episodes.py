"""`anubhav episodes`: recorded experience out of a running server into files that trainers read, and in from others."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from anubhav.cli.experience_files import read_rows, write_rows
from anubhav.cli.remote import Remote, takes_remote
from anubhav.errors import BadInput

_BATCH = 100


@click.group()
def episodes() -> None:
    """Recorded conversations: export and import them."""


@episodes.command()
@click.option("--as", "form", type=click.Choice(["sft", "dpo", "kto", "trajectory"]), default="sft", show_default=True)
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="FILE.jsonl or FILE.parquet."
)
@click.option("--alias", help="Of this alias only.")
@takes_remote
def export(remote: Remote, *, form: str, to: Path, alias: str | None) -> None:
    """Write what may be learned from into a file: SFT, DPO or KTO rows, or token-exact trajectories."""
    to = to.expanduser().absolute()
    if to.suffix not in (".jsonl", ".parquet"):
        raise click.UsageError("--to must end in .jsonl or .parquet.")
    query: dict[str, str | int] = {"form": form, "place": str(to), **({"alias": alias} if alias else {})}
    # Beside its place, so that it comes there whole or not at all.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=to.parent) as work:
        lines = Path(work) / "rows.jsonl"
        with lines.open("w+b") as out:
            remote.save("/v1/episodes/export", out, **query)
            out.seek(0)
            count = sum(1 for _ in out)
        built = lines
        if to.suffix == ".parquet":
            built = Path(work) / "rows.parquet"
            write_rows(built, read_rows(lines))
        built.replace(to)
    click.echo(f"{count} rows of {form} lie in {to}")


@episodes.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--alias", default="default", show_default=True, help="Whose experience it becomes.")
@takes_remote
def import_file(remote: Remote, *, file: Path, alias: str) -> None:
    """Bring conversations in FILE: OpenAI-style JSONL, or what Langfuse or OpenTelemetry exported (JSON or JSONL).

    The same file twice is imported once.
    """
    done = dict.fromkeys(("episodes", "feedback", "repeated", "skipped"), 0)
    for batch in _batches(file):
        answer = remote.post("/v1/episodes/import", {"alias": alias, "records": batch})
        done = {name: count + answer[name] for name, count in done.items()}
    click.echo(", ".join(f"{count} {name}" for name, count in done.items()))


def _batches(file: Path) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for record in _records(file):
        batch.append(record)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _records(file: Path) -> Iterator[Any]:
    """One a line, or a single JSON document: a list of them, an object that holds them in `data`, or one of them."""
    text = file.read_text("utf-8")
    try:
        whole = json.loads(text)
    except ValueError:
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield _parsed(file, number, line)
        return
    if isinstance(whole, dict) and isinstance(whole.get("data"), list):  # pyright: ignore[reportUnknownMemberType]
        whole = whole["data"]  # pyright: ignore[reportUnknownVariableType]
    yield from whole if isinstance(whole, list) else [whole]  # pyright: ignore[reportUnknownVariableType]


def _parsed(file: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as problem:
        raise BadInput(f"Line {number} of {file} is no JSON ({problem})", hint="Write one object a line.") from None
