"""`anubhav demo`: two scripted users teach a small model, through the public API and nothing else."""

import sys
import tempfile
import time
from pathlib import Path

import click

from anubhav.cli.demo import general, questions, shop, sums
from anubhav.cli.demo.caller import Caller
from anubhav.cli.demo.stage import start
from anubhav.cli.demo.table import Outcome, closing_table, write_report
from anubhav.cli.models import takes_models_dir
from anubhav.settings import DEFAULT_MODEL


@click.command(epilog=questions.FORMAT)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other figures.")
@click.option("--questions", "questions_file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here as JSON.")
@click.option("--laps", type=click.IntRange(1, 20), default=3, show_default=True, help="Laps on thumbs.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="A catalogue name or a model folder.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Keep the server's data here.")
@takes_models_dir
def demo(
    seed: int,
    questions_file: Path | None,
    report: Path | None,
    laps: int,
    model: str,
    data_dir: Path | None,
    models_dir: Path,
) -> None:
    """Watch a small model learn from corrections, and then from thumbs alone.

    Starts a server of its own and plays two users through its HTTP API. What is measured, before and after, are items
    that no lap trains on. Nothing is fetched but the model, once.
    """
    asked = questions.load(questions_file)
    from anubhav.app import pull_model

    folder = pull_model(model, models_dir, click.echo).folder
    with tempfile.TemporaryDirectory(prefix="anubhav-demo-", ignore_cleanup_errors=True) as temporary:
        click.echo("Starting a server …")
        with start(data_dir or Path(temporary), folder) as stage:
            click.echo(f"The console: {stage.sign_in}   (opens once)\n")
            outcome = _play(Caller(stage.url, stage.key, seed), asked, seed, laps, model)
            click.echo(f"\n{closing_table(outcome)}")
            if report:
                write_report(outcome, report)
                click.echo(f"Figures: {report}")
            if sys.stdin.isatty() and sys.stdout.isatty():
                click.pause(f"\nThe server still runs: look at {stage.sign_in} and press any key to stop it.")


def _play(caller: Caller, asked: tuple[questions.Question, ...], seed: int, laps: int, model: str) -> Outcome:
    started = time.monotonic()
    aliases = (shop.ALIAS, sums.ALIAS)
    # Nothing is taught yet: one answer of the base model stands for both aliases.
    general_before = general.ask(caller, aliases[:1], "unrelated questions, before") * len(aliases)
    click.secho("\nOne: corrections", bold=True)
    corrections = shop.play(caller, asked)
    click.secho("\nTwo: thumbs only", bold=True)
    thumbs = sums.play(caller, seed, laps)
    click.secho("\nAnd the rest?", bold=True)
    return Outcome(
        seed=seed,
        model=model,
        corrections=corrections,
        thumbs=thumbs,
        general_before=general_before,
        general_after=general.ask(caller, aliases, "unrelated questions, after"),
        seconds=time.monotonic() - started,
        releases=caller.releases(),
    )
