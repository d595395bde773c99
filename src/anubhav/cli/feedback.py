"""`anubhav feedback`: judge one answer from the terminal."""

from typing import Any

import click

from anubhav.cli.remote import Remote, takes_remote


@click.command()
@click.argument("target", metavar="REPLY")
@click.option("--up", "thumb", flag_value=1, type=int, help="Thumb up.")
@click.option("--down", "thumb", flag_value=0, type=int, help="Thumb down.")
@click.option("--correct", metavar="TEXT", help="What it should have said.")
@click.option("--rating", type=click.FloatRange(0, 1), help="From 0 (bad) to 1 (good).")
@click.option("--rater", help="Who judges; one vote a rater counts.")
@takes_remote
def feedback(
    remote: Remote, target: str, thumb: int | None, correct: str | None, rating: float | None, rater: str | None
) -> None:
    """Judge the answer REPLY, the id of a reply (`ep_…`, or `ep_…:2` for its third choice)."""
    given: list[dict[str, Any]] = []
    if thumb is not None:
        given.append({"kind": "thumb", "value": thumb})
    if correct is not None:
        given.append({"kind": "correction", "text": correct})
    if rating is not None:
        given.append({"kind": "rating", "value": rating})
    if len(given) != 1:
        raise click.UsageError("Give exactly one of --up, --down, --correct and --rating.")
    answer = remote.post("/v1/feedback", {"target": target, "rater": rater, **given[0]})
    click.echo(f"{answer['status']}: {answer['id']} on {answer['episode']}")
