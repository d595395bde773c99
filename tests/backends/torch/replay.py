"""One sequence, and what a transformers model says of it: exports and imports are compared by these numbers."""

from typing import Any

import torch

from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId
from anubhav.types.training import Datum

RUN = AdapterId("run")
TOKENS = [7, 3, 250, 41, 41, 9, 120, 77, 5, 0, 299, 18]
DATUM = Datum(tuple(TOKENS[:-1]), {"target_tokens": ints(TOKENS[1:]), "weights": floats([1.0] * (len(TOKENS) - 1))})


def logprobs_of(model: Any) -> list[float]:
    """Of each token of DATUM but the first."""
    with torch.no_grad():
        found = model(torch.tensor([TOKENS[:-1]])).logits[0].float().log_softmax(-1)
    return found.gather(-1, torch.tensor(TOKENS[1:])[:, None])[:, 0].tolist()
