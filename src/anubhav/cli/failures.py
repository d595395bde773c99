"""How a command ends when it does not succeed: one plain message, the next thing to type, and a fixed exit code."""

from typing import Any

import click

from anubhav.errors import AnubhavError

FAILED, REFUSED_BY_GATE, UNREACHABLE, INTERRUPTED = 1, 3, 4, 130


class Unreachable(AnubhavError):
    """No server answers at the address."""


class ServerRefused(AnubhavError):
    """The server answered with an error of its own."""


class Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AnubhavError as error:
            click.secho(f"Error: {error.message}", fg="red", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            raise click.exceptions.Exit(UNREACHABLE if isinstance(error, Unreachable) else FAILED) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
