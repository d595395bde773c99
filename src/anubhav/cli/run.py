"""`anubhav run`: a chat in the terminal with a running server, and what one thinks of its replies."""

import contextlib
import sys
from collections.abc import Callable
from importlib import import_module
from urllib.parse import quote

import click

from anubhav.cli.failures import ServerRefused
from anubhav.cli.remote import Remote, takes_remote
from anubhav.cli.talk import Talk

_HELP = """\
/good            the last reply was good        /new    begin a new conversation
/bad             it was bad                     /bye    end (or Ctrl-D)
/correct TEXT    what it should have said       Ctrl-C  stop a reply
Text of several lines stands between two lines of three quotation marks.\
"""
_FENCE = '"""'


@click.command()
@click.argument("model", default="default")
@click.option("--once", metavar="TEXT", help="Ask this, print the answer and end; text that is piped in works as well.")
@click.option("--system", metavar="TEXT", help="What the model is told first.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The longest reply.")
@takes_remote
def run(remote: Remote, *, model: str, once: str | None, system: str | None, max_tokens: int | None) -> None:
    """Chat with MODEL, an alias, a base model or a tinker:// path, on the server that runs.

    What you say of a reply with /good, /bad and /correct is feedback that the next lap learns from.
    """
    remote.get(f"/v1/models/{quote(model)}")
    talk = Talk(remote, model, system, max_tokens)
    if once is None and not sys.stdin.isatty():
        once = sys.stdin.read().strip()
    if once is not None:
        if not once:
            raise click.UsageError("There is nothing to ask: give --once TEXT, or pipe some in.")
        _speak(talk, once)
        return
    with contextlib.suppress(ImportError):
        import_module("readline")  # gives the prompt its history and editing keys
    click.echo(f"{model} at {remote.url}. /help tells what else can be typed.")
    while (line := _listen()) is not None:
        if not _act(talk, line):
            return


def _listen() -> str | None:
    """What is typed next, of one line or several; None when it ends."""
    while True:
        try:
            line = input(">>> ")
            if not line.strip().startswith(_FENCE):
                return line.strip()
            lines = [line.strip().removeprefix(_FENCE)]
            while not lines[-1].rstrip().endswith(_FENCE):
                lines.append(input("... "))
            return "\n".join(lines).rstrip().removesuffix(_FENCE).strip()
        except EOFError:
            click.echo()
            return None
        except KeyboardInterrupt:
            click.echo("\nType /bye to end.")


def _act(talk: Talk, line: str) -> bool:
    """False when the chat is over. What the server refuses does not end it."""
    word, _, rest = line.partition(" ")
    commands: dict[str, Callable[[], str]] = {
        "/good": lambda: talk.judge("thumb", value=1),
        "/bad": lambda: talk.judge("thumb", value=0),
        "/correct": lambda: talk.judge("correction", text=rest.strip()),
        "/new": talk.forget,
        "/help": lambda: _HELP,
    }
    if word == "/bye":
        return False
    try:
        if act := commands.get(word):
            click.echo(act())
        elif word.startswith("/") and rest == "" and word.count("/") == 1:
            click.echo(f"There is no {word}.\n{_HELP}")
        elif line:
            _speak(talk, line)
    except ServerRefused as problem:
        click.secho(f"{problem.message}. {problem.hint}", fg="red", err=True)
    return True


def _speak(talk: Talk, text: str) -> None:
    """Print the reply as it comes. Ctrl-C stops it, and nothing else."""
    reply = talk.ask(text)
    try:
        for part in reply:
            click.echo(part, nl=False)
    except KeyboardInterrupt:
        reply.close()
        click.echo("\n(stopped: it is not kept, so there is no feedback on it)", nl=False, err=True)
    click.echo()
