"""What the steps of `core_loop.py` share: the SDK under test, their register, and what they hand to one another."""

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore")
tinker: Any = importlib.import_module(os.environ.get("SDK_MODULE", "tinker"))
types: Any = importlib.import_module("tinker.types")

MODEL = "tiny"
PROMPT = types.ModelInput.from_ints([7, 8])
WHOLE = types.ModelInput.from_ints([7, 8, 9, 10])
Step = Callable[["Loop"], None]
STEPS: list[tuple[str, str, Step]] = []


def step(label: str, argument: str = "") -> Callable[[Step], Step]:
    """`label` is `<Class>.<method>`, perhaps with ` · <variant>`; a version without `argument` lacks the variant."""

    def keep(function: Step) -> Step:
        STEPS.append((label, argument, function))
        return function

    return keep


def done(pending: Any) -> Any:
    """Versions differ in whether a client or a future of it is given."""
    return pending.result() if hasattr(pending, "result") else pending


def datum(tokens: list[int], **inputs: list[float]) -> Any:
    targets = {"target_tokens": [*tokens[1:], tokens[-1] + 1]}
    return types.Datum(model_input=types.ModelInput.from_ints(tokens), loss_fn_inputs=targets | inputs)


WEIGHTED = [datum([1, 2, 3, 4, 5], weights=[0.0, 1.0, 1.0, 0.5, 1.0]), datum([7, 8, 9], weights=[1.0, 1.0, 1.0])]
JUDGED = [datum([7, 8, 9], logprobs=[-4.0, -5.0, -6.0], advantages=[1.0, -0.5, 0.25])]


def rows(output: Any) -> list[list[float]]:
    return [fields["logprobs"].tolist() for fields in output.loss_fn_outputs]


def close(ours: list[float], theirs: list[float], tolerance: float = 1e-4) -> bool:
    return len(ours) == len(theirs) and all(abs(a - b) <= tolerance for a, b in zip(ours, theirs, strict=True))


class Loop:
    """What the steps hand to one another."""

    service: Any
    rest: Any
    trainer: Any
    sampler: Any
    saved: str
    served: str
    external: str
    after_saving: list[list[float]]
    scores: list[float]

    def rates(self, rate: float) -> Any:
        return types.AdamParams(learning_rate=rate)

    def learn(self, trainer: Any) -> list[list[float]]:
        """One step, and the log-probabilities behind it."""
        done(trainer.forward_backward(WEIGHTED, "cross_entropy"))
        done(trainer.optim_step(self.rates(0.02)))
        return rows(done(trainer.forward(WEIGHTED, "cross_entropy")))

    def sample(self, *, count: int = 1, prompt: Any = PROMPT, **more: Any) -> Any:
        """Sampling parameters are told from arguments by their names."""
        chosen = {name: more.pop(name) for name in ("seed", "stop", "temperature", "max_tokens") if name in more}
        params = types.SamplingParams(**({"max_tokens": 4} | chosen))
        return done(self.sampler.sample(prompt, count, params, **more))

    def run(self) -> str:
        return str(self.trainer.model_id)

    def names(self) -> set[str]:
        return {one.checkpoint_id for one in done(self.rest.list_checkpoints(self.run())).checkpoints}

    def session(self) -> str:
        return self.run().partition(":")[0]
