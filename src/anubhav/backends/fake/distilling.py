"""The reverse KL over the table, exactly; the formula stands in backends/torch/training/losses/reverse_kl.py."""

import math
from collections.abc import Sequence

from anubhav.backends.fake.table import Outlook, Rows, Sweep, log_softmax, look_ahead
from anubhav.errors import BadInput
from anubhav.types.distilling import Continuation, Distillation, Distilled, summed_up

Learned = tuple[Rows, float]
"""An adapter's rows and their scale."""


def distil(student: Learned, reference: Learned, work: Distillation, vocab: int) -> tuple[Distilled, list[Sweep]]:
    """Raises BadInput for a loss that is not finite."""
    losses: list[float] = []
    sweeps: list[Sweep] = []
    for datum in work.data:
        total = 0.0
        for place, weight in enumerate(datum.weights):
            if weight:
                ours, theirs = _outlooks(student, reference, datum, place, vocab)
                kl, slopes = _compare(ours.logprobs(), theirs.logprobs(), work.temperature)
                total += weight * work.temperature**2 * kl
                sweeps.append(Sweep(ours, [weight * work.temperature * slope for slope in slopes]))
        losses.append(total)
    if not all(map(math.isfinite, losses)):
        raise BadInput("The reverse KL is not finite", hint="Go back to an earlier checkpoint, or lower the weights.")
    return summed_up(work, losses), sweeps


def _outlooks(
    student: Learned, reference: Learned, datum: Continuation, place: int, vocab: int
) -> tuple[Outlook, Outlook]:
    said = datum.targets[:place]
    ours = look_ahead(datum.prompt + said, *student, vocab)
    return ours, look_ahead(datum.reference_prompt + said, *reference, vocab)


def _compare(ours: Sequence[float], theirs: Sequence[float], temperature: float) -> tuple[float, list[float]]:
    """(KL, its derivative by each logit over τ)."""
    logp, logq = (log_softmax([value / temperature for value in values]) for values in (ours, theirs))
    apart = [(math.exp(p), p - q) for p, q in zip(logp, logq, strict=True)]
    kl = math.fsum(p * away for p, away in apart)
    return kl, [p * (away - kl) for p, away in apart]
