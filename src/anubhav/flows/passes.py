"""What a pass leaves to the server is filled in before it is journalled, so that its replay needs nothing but itself: a
client's own loss, found by its id, and log-probabilities and experts, found by provenance among what was recorded at
sampling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from anubhav.errors import BadInput
from anubhav.flows.house import House
from anubhav.flows.routes import with_routes
from anubhav.serving.recall import Recalled
from anubhav.types.arrays import floats
from anubhav.types.losses import LOSSES
from anubhav.types.provenance import Span
from anubhav.types.training import Datum, Pass

Origin = tuple[Span, ...]
"""Where the targets of a datum came from, one run of positions after the other; empty when it does not say."""


async def complete(
    house: House, tenant: str, work: Pass, origins: Sequence[Origin], sources: Sequence[Origin] = ()
) -> Pass:
    """The pass with its graph, with the log-probabilities its loss needs and its data do not bring, and with the
    experts that their tokens went to. `origins` are of the targets, `sources` of the tokens.

    Raises NotFound for an unknown custom loss, BadInput for a sequence that was not recorded and for targets that are
    not its tokens.
    """
    work = await with_routes(house, tenant, work, sources)
    if work.loss == "custom":
        return await _with_graph(house, tenant, work)
    return await _with_logprobs(house, tenant, work, origins)


async def _with_logprobs(house: House, tenant: str, work: Pass, origins: Sequence[Origin]) -> Pass:
    info = LOSSES.get(work.loss)
    if info is None or "logprobs" not in info.inputs:
        return work
    lacking = {
        number: origin for number, origin in enumerate(origins) if origin and "logprobs" not in work.data[number].inputs
    }
    if not lacking:
        return work
    names = dict.fromkeys(span.sequence for origin in lacking.values() for span in origin if span.sampled)
    known = await house.sampling.recall(tenant, names)
    data = list(work.data)
    for number, origin in lacking.items():
        data[number] = _recalled(number, data[number], origin, known)
    return replace(work, data=tuple(data))


async def _with_graph(house: House, tenant: str, work: Pass) -> Pass:
    loss = work.config.get("loss_id")
    if not isinstance(loss, str):
        raise BadInput("The loss custom came without its loss_id", hint="Send what create_custom_loss answered.")
    rest = {name: value for name, value in work.config.items() if name != "loss_id"}
    return replace(work, config=rest, graph=await house.desk.losses.find(tenant, loss))


def _recalled(number: int, datum: Datum, origin: Origin, known: Mapping[str, Recalled]) -> Datum:
    """Prompts were not drawn and get 0, which no loss may look at, so their advantages must be 0."""
    targets = datum.inputs.get("target_tokens")
    if targets is None or len(targets.shape) != 1:
        raise BadInput(
            f"Datum {number} brings provenance instead of logprobs and not one target to each position",
            hint="Send logprobs, or target_tokens of shape (N,).",
        )
    wanted, logprobs = targets.tolist(), list[float]()
    for span in origin:
        here = len(logprobs)
        if span.sampled:
            logprobs += _logprobs(number, span, wanted[here : here + span.length], known.get(span.sequence))
        else:
            _check_idle(number, datum, range(here, here + span.length))
            logprobs += [0.0] * span.length
    return replace(datum, inputs={**datum.inputs, "logprobs": floats(logprobs)})


def _logprobs(number: int, span: Span, targets: Sequence[float], found: Recalled | None) -> Sequence[float]:
    if found is None:
        raise BadInput(
            f"Datum {number} came from the sequence {span.sequence[:100]}, which is not recorded here",
            hint="Sample with record_stability_info and train within a day, or send logprobs.",
        )
    end = span.offset + span.length
    if list(found.tokens[span.offset : end]) != list(targets):
        raise BadInput(
            f"Datum {number} has targets that are not tokens {span.offset} to {end} of {span.sequence[:100]}",
            hint="Let the spans over loss_fn_inputs tile target_tokens.",
        )
    return found.logprobs[span.offset : end]


def _check_idle(number: int, datum: Datum, places: range) -> None:
    for name in ("advantages", "sequence_ratio_mask"):
        values = datum.inputs.get(name)
        if values is not None and any(values.tolist()[places.start : places.stop]):
            raise BadInput(
                f"Datum {number} has {name} other than 0 on tokens of a prompt",
                hint="Only sampled tokens have a log-probability to look up.",
            )
