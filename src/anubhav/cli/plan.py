"""`anubhav plan`: what a model takes on so many GPUs, which layouts fit, and what full fine-tuning would take."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from anubhav.cli.tables import Format, layout, takes_format

_EXPERTS = ("tied", "per-expert", "shared-outer", "rank-normalised")
_BYTES = ("weights", "adapters", "optimizer", "gradients", "gathered", "activations", "cache")


def _takes_hardware(command: Callable[..., Any]) -> Callable[..., Any]:
    """The figures of a card, each in place of the data sheet's."""
    for option, name, kind, text in reversed(
        (
            ("--gpu-memory", "memory", float, "GB of a card."),
            ("--peak-tflops", "flops", float, "Dense bf16 TFLOP/s of a card."),
            ("--memory-bandwidth", "bandwidth", float, "GB/s of a card's memory."),
            ("--link", "link", float, "GB/s between cards of a node, one direction."),
            ("--network", "network", float, "GB/s between nodes, for each card."),
            ("--price", "price", float, "Of a card and hour."),
            ("--node", "node", int, "Cards of a node."),
            ("--usable", "usable", float, "Share of the memory that a plan may fill."),
            ("--efficiency", "efficiency", float, "Share of the peak FLOP/s that training reaches."),
        )
    ):
        command = click.option(option, name, type=kind, help=text)(command)
    return command


@click.command()
@click.option("--model", required=True, help="kimi-k2, deepseek-v3, qwen3-8b …, or a folder with a config.json.")
@click.option("--gpus", type=int, default=8, show_default=True)
@click.option("--gpu", default="h100", show_default=True, help="The card whose data sheet is assumed.")
@click.option("--rank", type=int, default=32, show_default=True)
@click.option("--experts", type=click.Choice(_EXPERTS), default="shared-outer", show_default=True)
@click.option("--targets", type=click.Choice(["tinker", "all-linear"]), default="tinker", show_default=True)
@click.option("--sequence", type=int, default=4096, show_default=True, help="Tokens of a sequence.")
@click.option("--batch", type=int, default=64, show_default=True, help="Sequences of an optimizer step.")
@click.option(
    "--cached-sequences", "cached", type=int, default=1, show_default=True, help="Sequences cached on each data rank."
)
@click.option("--layout", help="Plan this one: tp=8,fsdp=8,ep=64, and sp and pp; what is left out is 1.")
@click.option("--write", "to", type=click.Path(path_type=Path), metavar="FOLDER", help="New, or empty.")
@_takes_hardware
@takes_format
def plan(to: Path | None, form: Format, **wishes: Any) -> None:
    """Plan LoRA training of a model on GPUs. None is needed for it.

    Parameters and the tensors of each rank are instantiated from the real architecture, without values; activations
    and collectives are traced or arithmetic; time and cost are estimates. docs/plan.md says which is which.
    """
    from anubhav.app import plan_cluster

    made = plan_cluster(wishes, to.expanduser().absolute() if to else None)
    if form == "json":
        click.echo(json.dumps(made, indent=2))
        return
    for block in (_model(made), _best(made), _bytes(made), _traffic(made), _options(made), _comparison(made)):
        click.echo("\n".join(block))
        click.echo()
    if to:
        click.echo(f"Written to {to}: plan.json, cluster.json, and for other engines (not executed) three YAML files.")


def _model(made: Mapping[str, Any]) -> list[str]:
    model, adapter = made["model"], made["adapter"]
    biases = f", and {model['router_biases']:,} values of router biases" if model["router_biases"] else ""
    counts = adapter["parameters"]
    alike = len(set(counts.values())) == 1
    lines = [
        f"{model['name']} ({model['family']}): {model['parameters']:,} parameters{biases}; "
        f"{model['active_parameters']:,} of them for a token",
        f"LoRA of rank {adapter['rank']}, {adapter['targets']}:",
    ]
    if alike:
        return [*lines, f"  {next(iter(counts.values())):,} parameters"]
    return lines + [
        f"  {name}: {count:,} parameters{'  (planned)' if name == adapter['experts'] else ''}"
        for name, count in counts.items()
    ]


def _best(made: Mapping[str, Any]) -> list[str]:
    best, hardware, counts = made["best"], made["hardware"], made["layouts"]
    guess = best["estimate"]
    traced = "traced" if made["instantiated"]["traced"] else "arithmetic"
    return [
        f"{hardware['gpus']} × {hardware['name']} of {hardware['memory'] / 1e9:.0f} GB: {counts['fitting']} of "
        f"{counts['tried']} layouts fit. This one: {_name(best)}",
        f"  {_gb(made['instantiated']['total_bytes'])} GB on the fullest rank (activations {traced}), "
        f"{_gb(hardware['memory'] * hardware['usable'])} GB may be filled",
        f"  estimate: {guess['step']:.2f} s a step of {made['load']['batch']} × {made['load']['sequence']} tokens, "
        f"{guess['tokens_per_second']:,.0f} tokens/s, {guess['cost_per_step']:.2f} a step and "
        f"{guess['cost_per_million_tokens']:.2f} a million tokens at {hardware['price']} a card and hour",
    ]


def _bytes(made: Mapping[str, Any]) -> list[str]:
    """GB by stage: arithmetic, and below it what was instantiated."""
    rows: list[list[str]] = [["GB on a rank", "", *_BYTES]]
    stages = zip(made["best"]["arithmetic"]["stages"], made["instantiated"]["stages"], strict=True)
    for number, (counted, measured) in enumerate(stages):
        rows.append([f"stage {number}", "arithmetic", *(_gb(counted[part]) for part in _BYTES)])
        rows.append(["", "instantiated", *(_gb(measured[part]) if part in measured else "-" for part in _BYTES)])
    traced = made["instantiated"]["traced"]
    if traced:
        rows[-1][_BYTES.index("gathered") + 2] = "traced:"
        rows[-1][_BYTES.index("activations") + 2] = _gb(traced["peak"])
    return layout(rows).splitlines()


def _traffic(made: Mapping[str, Any]) -> list[str]:
    found = made["best"]["arithmetic"]["collectives"]
    if not found:
        return ["No collectives: one rank."]
    rows = [["collectives of a step", "axis", "ranks", "calls", "GB", "what"]]
    for one in found:
        rows.append(
            [one["name"], one["axis"], str(one["ranks"]), str(one["calls"]), f"{one['bytes'] / 1e9:.2f}", one["why"]]
        )
    return layout(rows).splitlines()


def _options(made: Mapping[str, Any]) -> list[str]:
    options: Sequence[Mapping[str, Any]] = [made["best"], *made["others"]]
    rows = [["layouts, fastest first", "GB", "s a step (estimate)", "cost a step (estimate)"]]
    for one in options:
        total, guess = one["arithmetic"]["total_bytes"], one["estimate"]
        rows.append([_name(one), _gb(total), f"{guess['step']:.2f}", f"{guess['cost_per_step']:.2f}"])
    return layout(rows).splitlines()


def _comparison(made: Mapping[str, Any]) -> list[str]:
    found = made["comparison"]
    return [
        f"State of training, without activations: LoRA {found['lora_bytes'] / 1e12:.2f} TB on {found['lora_cards']} "
        f"cards, every parameter {found['full_bytes'] / 1e12:.2f} TB on {found['full_cards']}: {found['share']:.1%}"
    ]


def _name(option: Mapping[str, Any]) -> str:
    return " ".join(f"{axis}={size}" for axis, size in option["layout"].items())


def _gb(count: float) -> str:
    return f"{count / 1e9:.2f}"
