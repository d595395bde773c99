"""Whether a model of transformers says the same with our attention: a few tokens, before anybody is answered with it.

Two sequences that begin alike go through transformers alone, and packed into one trie through ours. That finds what
ignores positions, what mixes neighbours outside of attention (convolutions, states, token shifts), and what happens
to logits behind the unembedding. Axes: T tokens, V vocabulary.
"""

from typing import Any, Final

import torch
from torch import Tensor

from anubhav.backends.torch.layers.config import ModelConfig
from anubhav.backends.torch.models.decoder import Decoder
from anubhav.backends.torch.models.foreign_shape import refuse
from anubhav.backends.torch.models.packing import pack
from anubhav.errors import AnubhavError

_SHARED, _TAILS = 7, (5, 6)
_ALLOWED: Final = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""How far logits may be off, relative to their spread: what rounding does."""

Trial = list[tuple[tuple[int, ...], Tensor]]
"""(tokens, logits) of each sequence."""


@torch.no_grad()
def expect(net: Any, config: ModelConfig, device: torch.device) -> Trial:
    """What transformers says by itself."""
    draw = torch.Generator().manual_seed(0)

    def some(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(config.vocab, (count,), generator=draw).tolist())

    shared = some(_SHARED)
    texts = [(*shared, *some(count)) for count in _TAILS]
    return [(text, net(torch.tensor([text], device=device), use_cache=False).logits[0].float()) for text in texts]


@torch.no_grad()
def check(model: Decoder, trial: Trial) -> None:
    """Raises BadInput, with the deviation, where ours are other logits."""
    (one,) = pack([text for text, _ in trial], 1 << 10, model.device)
    try:
        logits_TV = model.logits(one.hidden(model, []), []).float()
    except AnubhavError:
        raise
    except Exception as problem:  # other people's code, as in `foreign_shape`
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        raise refuse(model.config.architecture, f"it fails on packed sequences ({reason})") from problem
    for number, (_, theirs_TV) in enumerate(trial):
        ours_TV = logits_TV[list(one.rows[number])]
        if ours_TV.shape != theirs_TV.shape:
            raise refuse(model.config.architecture, "its logits are not what its unembedding gives")
        spread = (theirs_TV - theirs_TV.mean(-1, keepdim=True)).norm()
        off = float((ours_TV - theirs_TV).norm() / spread)
        if not off <= _ALLOWED[model.dtype]:
            raise refuse(
                model.config.architecture,
                f"with our attention, packed, its logits are off by {off:.1e} of their spread",
            )
