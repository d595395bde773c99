"""`anubhav serve`: the whole house on one port."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from anubhav.cli.configured import Configured, settled, takes_config, takes_data_dir, takes_models
from anubhav.cli.models import takes_models_dir
from anubhav.settings import DEFAULT_MODEL, Settings, preset_key

if TYPE_CHECKING:
    from anubhav.app import Ready


def _pairs(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [value.partition("=") for value in values]
    if wrong := [served for served, mark, name in pairs if not (served and mark and name)]:
        raise click.BadParameter(f"{wrong[0]!r} is not SERVED=NAME, such as Qwen/Qwen3-8B={DEFAULT_MODEL}")
    return tuple((served, name) for served, _, name in pairs)


@click.command(cls=Configured)
@takes_config
@click.option(
    "--host",
    envvar="ANUBHAV_HOST",
    default="127.0.0.1",
    show_default=True,
    help="Another address needs ANUBHAV_API_KEY.",
)
@click.option(
    "--port",
    envvar="ANUBHAV_PORT",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes any free one.",
)
@takes_data_dir
@takes_models_dir
@takes_models
@click.option(
    "--alias",
    "aliases",
    envvar="ANUBHAV_ALIASES",
    multiple=True,
    callback=_pairs,
    metavar="SERVED=NAME",
    help="Serve under a name.",
)
@click.option(
    "--dtype",
    envvar="ANUBHAV_DTYPE",
    type=click.Choice(["float32", "bfloat16"]),
    help="What models compute in. On a CPU bfloat16 is faster and less exact; the default is float32.",
)
@click.option(
    "--sampler",
    envvar="ANUBHAV_SAMPLER",
    type=click.Choice(["own", "vllm"]),
    default="own",
    show_default=True,
    help="What answers: our own engine, or vLLM in an environment of its own (anubhav setup vllm).",
)
@click.option(
    "--layout",
    envvar="ANUBHAV_LAYOUT",
    metavar="AXES",
    help="Shard the trainer over processes: tp=2,fsdp=2 (docs/sharding.md), or the cluster.json of a plan.",
)
@click.option(
    "--cluster",
    envvar="ANUBHAV_CLUSTER",
    metavar="ADDRESS",
    help="Put trainer and samplers on a Ray cluster: local, or ray://HOST:PORT.",
)
@click.option(
    "--samplers",
    envvar="ANUBHAV_SAMPLERS",
    type=click.IntRange(1, 512),
    default=1,
    show_default=True,
    help="In a cluster, per model.",
)
@click.option(
    "--store",
    envvar="ANUBHAV_STORE",
    metavar="URL",
    help="Keep the rows in Postgres, so that several servers share the data folder (docs/replicas.md).",
)
@click.option(
    "--tracker",
    "trackers",
    envvar="ANUBHAV_TRACKERS",
    type=click.Choice(["trackio", "wandb", "mlflow"]),
    multiple=True,
    help="Also tell this one what runs and laps measure.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    envvar="ANUBHAV_LOG_FORMAT",
    help="What a line of the log on standard error is.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    envvar="ANUBHAV_LOG_LEVEL",
    help="From info on, a line a request; the default is info for JSON and warning for text.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens, not only what goes wrong.")
def serve(  # noqa: PLR0913 - one for each option
    *,
    host: str,
    port: int,
    data_dir: Path,
    models_dir: Path,
    models: tuple[str, ...],
    aliases: tuple[tuple[str, str], ...],
    dtype: str | None,
    sampler: Literal["own", "vllm"],
    layout: str | None,
    cluster: str | None,
    samplers: int,
    store: str | None,
    trackers: tuple[Literal["trackio", "wandb", "mlflow"], ...],
    log_format: Literal["text", "json"],
    log_level: Literal["debug", "info", "warning", "error"] | None,
    verbose: bool,
) -> None:
    """Serve the Tinker, OpenAI and feedback APIs and the console on one port.

    NAME is a catalogue name, hf:<organisation>/<name>, or a model folder; a catalogue model is fetched if it is not
    here. ANUBHAV_API_KEY chooses the API key; otherwise one is made and kept in the data folder.
    Stop with Ctrl+C or SIGTERM: what runs is finished first, for up to 30 seconds; a second one stops at once.
    """
    settings = Settings(
        data_dir=data_dir.expanduser().absolute(),
        models_dir=models_dir.expanduser().absolute(),
        host=host,
        port=port,
        models=models,
        aliases=aliases,
        dtype=dtype,
        api_key=preset_key(),
        sampler=sampler,
        layout=layout,
        cluster=cluster,
        samplers=samplers,
        store=store,
        trackers=trackers,
        configuration=settled(click.get_current_context()),
    )
    from anubhav.app import serve as run
    from anubhav.telemetry.logs import configure

    configure(form=log_format, level=log_level or ("info" if verbose else None))
    run(settings, report=click.echo, announce=_announce)


def _announce(ready: "Ready") -> None:
    if ready.leader is not None:
        click.echo(f"Anubhav stands by at {ready.url}; {ready.leader} leads")
        return
    click.echo(f"""
Anubhav is ready: {", ".join(ready.models)}

  The console   {ready.sign_in}   (opens once)
  API key       {ready.key or "as set in ANUBHAV_API_KEY"}
  Data          {ready.data_dir}

Any OpenAI client:
  export OPENAI_BASE_URL={ready.url}/v1 OPENAI_API_KEY={ready.key or "$ANUBHAV_API_KEY"}
The Tinker SDK:
  export TINKER_BASE_URL={ready.url} TINKER_API_KEY={ready.key or "$ANUBHAV_API_KEY"}
  export HF_ENDPOINT={ready.url}    # tokenizers come from here too, unless you need a hub's data sets
Ask, judge, learn:
  curl {ready.url}/v1/chat/completions -H "Authorization: Bearer $OPENAI_API_KEY" \\
    -H "Content-Type: application/json" -d '{{"model":"default","messages":[{{"role":"user","content":"Hi!"}}]}}'
  anubhav feedback ep_… --correct "Hello!"   and then   anubhav lap
""")
