"""`anubhav setup`: what some parts need beside the package."""

import click


@click.group()
def setup() -> None:
    """Make what some parts need beside the package."""


@setup.command()
@click.option("--check", is_flag=True, help="Only say what is there; exit code 1 if it is not ready.")
@click.pass_context
def vllm(context: click.Context, *, check: bool) -> None:
    """Make vLLM's own environment, from which `anubhav serve --sampler vllm` samples.

    It is a folder in your cache, or where ANUBHAV_VLLM_HOME says, of about 4 GB: vLLM with the versions of other
    packages that it insists on. Without an NVIDIA GPU it is the build for CPUs.
    """
    from anubhav.app import make_vllm_environment

    if not make_vllm_environment(click.echo, check=check):
        context.exit(1)
