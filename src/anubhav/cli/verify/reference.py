"""An independent reference for a server's numbers: the base model in transformers, the adapter as the server exported
it, loaded through PEFT, and plain autograd with torch's own AdamW. Nothing of Anubhav's engine is used.

Log-probabilities are natural, one per target; q are those the data were drawn with, A the advantages, r = exp(p - q).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from anubhav.cli.verify.runs import BETAS, EPSILON, Text
from anubhav.errors import MissingPart

try:
    import peft
    import transformers
except ImportError as problem:
    raise MissingPart(
        "The reference needs transformers and PEFT", hint="Type: pip install transformers peft"
    ) from problem

_HF: Any = transformers
_PEFT: Any = peft

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(p, q, A, weights), each (T,), to the loss summed over T."""
LOSSES: Mapping[str, Loss] = {
    "cross_entropy": lambda p, _q, _a, w: -(w * p).sum(),
    "importance_sampling": lambda p, q, a, _w: -((p - q).exp() * a).sum(),
    "ppo": lambda p, q, a, _w: -torch.minimum((p - q).exp() * a, (p - q).exp().clamp(0.8, 1.2) * a).sum(),
    "cispo": lambda p, q, a, _w: -((p - q).exp().clamp(0.8, 1.2).detach() * p * a).sum(),
    "dro": lambda p, q, a, _w: -(p * a - 0.5 * 0.05 * (p - q) ** 2).sum(),
}
"""As Tinker's documentation gives them, at its default thresholds; dro at beta 0.05."""


class Reference:
    """A model on this machine that is trained as the server's is. Computes in fp32 on the CPU."""

    def __init__(self, base: str, adapter: Path | None = None, *, decay: float = 0.0) -> None:
        """`base`: a folder in Hugging Face's layout, or a name there; `adapter`: a PEFT folder, made trainable."""
        self._model = _HF.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
        if adapter is not None:
            self._model = _PEFT.PeftModel.from_pretrained(self._model, str(adapter), is_trainable=True)
            weights = [one for one in self._model.parameters() if one.requires_grad]
            self._optimizer = torch.optim.AdamW(weights, lr=0.0, betas=BETAS, eps=EPSILON, weight_decay=decay)
        self._model.eval()

    def logprobs(self, text: Text) -> Tensor:
        """(T - 1,): of each token after the first."""
        tokens_T = torch.tensor(text.tokens)
        logits_TV = cast(Tensor, self._model(input_ids=tokens_T[None, :-1]).logits)[0]
        return torch.log_softmax(logits_TV, -1).gather(-1, tokens_T[1:, None])[:, 0]

    def read(self, texts: Sequence[Text]) -> list[float]:
        with torch.no_grad():
            return cast("list[float]", torch.cat([self.logprobs(text) for text in texts]).tolist())  # pyright: ignore[reportUnknownMemberType]

    def learn(self, texts: Sequence[Text], loss: str, drawn: Sequence[Sequence[float]]) -> None:
        """Accumulate the gradient of the batch. `drawn` are q; weights are the advantages too."""
        total = torch.zeros(())
        for text, q in zip(texts, drawn, strict=True):
            weights = torch.tensor(text.weights)
            total = total + LOSSES[loss](self.logprobs(text), torch.tensor(q), weights, weights)
        total.backward()  # pyright: ignore[reportUnknownMemberType]

    def step(self, rate: float, clip: float = 0.0) -> float:
        """The norm of the gradient before it is clipped; 0 clips nothing."""
        [group] = self._optimizer.param_groups
        norm = torch.nn.utils.clip_grad_norm_(group["params"], clip or float("inf"))
        group["lr"] = rate
        self._optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self._optimizer.zero_grad()
        return float(norm)
