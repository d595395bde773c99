"""`anubhav launch`: a client that people know, started on this server without touching its own configuration."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import click
from platformdirs import user_cache_path

from anubhav.cli.launch.clients import CLIENTS, Client, Place
from anubhav.cli.remote import Remote, takes_remote
from anubhav.errors import BadInput, MissingPart


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("client", type=click.Choice(list(CLIENTS)))
@click.option("--model", default="default", show_default=True, help="An alias, a base model or a tinker:// path.")
@click.option("--print", "printed", is_flag=True, help="Print the lines for a shell, and start nothing.")
@click.option("--anyway", is_flag=True, help="Start it although the model reads less than its first request.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@takes_remote
@click.pass_context
def launch(
    context: click.Context,
    remote: Remote,
    *,
    client: str,
    model: str,
    printed: bool,
    anyway: bool,
    arguments: tuple[str, ...],
) -> None:
    """Start CLIENT on this server. What follows -- is given to it: anubhav launch claude -- -p "say hello"."""
    chosen = CLIENTS[client]
    place = _place(remote, model)
    short = _too_short(chosen, place)
    if printed:
        if short:
            click.echo(short, err=True)
        click.echo("\n".join(chosen.lines(place)))
        return
    if short and not anyway:
        raise BadInput(short, hint="Serve a model with a longer context, or add --anyway.")
    if shutil.which(chosen.command[0]) is None:
        raise MissingPart(f"{chosen.title} is not installed", hint=f"Type: {chosen.install}")
    cache = user_cache_path("anubhav", appauthor=False)
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="launch-", dir=cache) as folder:  # Codex complains of one under /tmp
        context.exit(_start([*chosen.command, *arguments], chosen.environment(place, Path(folder))))


def _place(remote: Remote, model: str) -> Place:
    """Raises Unreachable without a server, and what the server says of a model or key it does not know."""
    found = remote.get(f"/v1/models/{quote(model)}")
    return Place(remote.url, remote.key, model, int(found.get("max_model_len") or 0))


def _too_short(client: Client, place: Place) -> str:
    """Why the model cannot answer this client; empty when it can, or nobody knows."""
    if not place.context or place.context > client.first_request:
        return ""
    return (
        f"{client.title}'s first request is about {client.first_request} tokens, with its instructions and tools,"
        f" and {place.model} reads {place.context}"
    )


def _start(command: list[str], environment: Mapping[str, str]) -> int:
    """Its exit code. Ctrl-C is the client's to understand."""
    with subprocess.Popen(command, env=environment) as process:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)
