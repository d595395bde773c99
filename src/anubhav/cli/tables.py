"""Rows on a terminal or as JSON: the same rows for people and for scripts."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import click

Format = Literal["table", "json"]


def takes_format(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds -f/--format; the command gets it as `form`."""
    return click.option(
        "-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
    )(command)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Format, *, empty: str) -> None:
    """Print the columns of the rows as a table, or the whole rows as JSON."""
    if form == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        click.echo(layout([columns, *([cell(row.get(column)) for column in columns] for row in rows)]))
    else:
        click.echo(empty)


def layout(lines: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([padded[0].upper(), *padded[1:]])


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def moment(seconds: float | None) -> str:
    """Seconds since the epoch as local time; `-` for None."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
