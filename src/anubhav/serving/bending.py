"""Bending: what a request's penalties, biases and grammar ask for, looked at before its reply begins.

A stream's status is sent with its first word, so whatever is wrong has to be found before that.
"""

import asyncio

from anubhav.errors import BadInput
from anubhav.grammars.holding import hold
from anubhav.types.models import Model
from anubhav.types.sampling import SamplingParams


async def check_bends(params: SamplingParams, model: Model) -> None:
    """Raises BadInput for a bias of tokens the model does not have, and for a grammar that it cannot be held to."""
    unknown = [token for token, _ in params.logit_bias if not 0 <= token < model.vocab_size]
    if unknown:
        raise BadInput(
            f"logit_bias names tokens that {model.name} does not have: {', '.join(map(str, unknown[:5]))}",
            hint=f"Its token ids are 0 to {model.vocab_size - 1}.",
        )
    if params.grammar:
        # What is made here is kept: a sampler in this process finds it.
        await asyncio.to_thread(hold, model.folder, params.stop_tokens, params.grammar)
