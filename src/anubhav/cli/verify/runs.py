"""What the parity checks share: the data they train on, and a run through the stock SDK that reads like its steps.

Data are drawn from a seed, in token ids small enough for any vocabulary; every check compares a server with itself, so
nothing here depends on the model that is served.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinker import Datum, ServiceClient, TrainingClient

RATE = 1e-3
BETAS, EPSILON = (0.9, 0.95), 1e-12
"""The SDK's defaults, sent with every step."""
_LARGEST = 200
"""Token ids stay below this: no vocabulary is smaller."""


@dataclass(frozen=True, slots=True)
class Text:
    tokens: tuple[int, ...]
    """Token i + 1 is the target at i."""
    weights: tuple[float, ...]


def texts(seed: int, count: int = 4) -> list[Text]:
    """Sequences of different lengths that begin alike, their first tokens without weight."""
    chance = random.Random(seed)
    prefix = [chance.randrange(3, _LARGEST) for _ in range(6)]
    drawn: list[Text] = []
    for number in range(count):
        tokens = (*prefix, *(chance.randrange(3, _LARGEST) for _ in range(5 + 3 * number)))
        weights = tuple(0.0 if place < 4 else chance.uniform(0.2, 1.0) for place in range(len(tokens) - 1))
        drawn.append(Text(tokens, weights))
    return drawn


def datum(text: Text, **inputs: Sequence[float]) -> "Datum":
    """With no inputs, what cross_entropy takes."""
    from tinker import Datum, ModelInput

    given = inputs or {"weights": text.weights}
    return Datum(
        model_input=ModelInput.from_ints(list(text.tokens[:-1])),
        loss_fn_inputs={"target_tokens": list(text.tokens[1:]), **{name: list(row) for name, row in given.items()}},  # pyright: ignore[reportArgumentType]
    )


def lessons(seed: int) -> "list[Datum]":
    return [datum(text) for text in texts(seed)]


class Run:
    """One training run. Log-probabilities come as one flat list over all positions."""

    def __init__(self, client: "TrainingClient") -> None:
        self.client = client

    @classmethod
    def start(cls, service: "ServiceClient", model: str, *, rank: int = 8, seed: int = 11, **flags: bool) -> "Run":
        """`flags`: train_attn, train_mlp, train_unembed."""
        return cls(service.create_lora_training_client(model, rank=rank, seed=seed, **flags).result())  # pyright: ignore[reportArgumentType]

    def learn(self, data: "list[Datum]", loss: str = "cross_entropy", config: dict[str, float] | None = None) -> float:
        """forward_backward; returns `loss:sum`."""
        return self.client.forward_backward(data, loss, config).result().metrics["loss:sum"]  # pyright: ignore[reportArgumentType]

    def step(self, rate: float = RATE, clip: float = 0.0, decay: float = 0.0) -> dict[str, float]:
        """The server's own figures of the step, as far as it gives any."""
        from tinker import AdamParams

        (beta1, beta2), given = BETAS, {"learning_rate": rate, "grad_clip_norm": clip, "weight_decay": decay}
        stepped = self.client.optim_step(AdamParams(beta1=beta1, beta2=beta2, eps=EPSILON, **given)).result()
        return dict(stepped.metrics or {})

    def train(self, seeds: Iterable[int]) -> list[float]:
        """A step on each batch; the losses."""
        losses: list[float] = []
        for seed in seeds:
            losses.append(self.learn(lessons(seed)))
            self.step()
        return losses

    def read(self, seed: int = 99) -> list[float]:
        """The log-probabilities of texts that are never trained on."""
        output = self.client.forward(lessons(seed), "cross_entropy").result()
        return [value for fields in output.loss_fn_outputs for value in fields["logprobs"].tolist()]
