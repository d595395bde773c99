"""The parity checks: what must be equal on any server that speaks Tinker's protocol, and how far apart it is.

Each check returns the largest difference it saw and is passed when that is within its bound. Bounds are for fp32; a
server that computes in bf16 fails the tight ones, which is what the table is for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anubhav.cli.verify.runs import Run, datum, lessons, texts

if TYPE_CHECKING:
    from tinker import ServiceClient

Check = Callable[["ServiceClient", str], float]
TIGHT, EXACT = 1e-3, 1e-5
"""The same computation in another order; the same computation again."""


@dataclass(frozen=True, slots=True)
class Claim:
    name: str
    bound: float
    measure: Check


def fresh_adapter(service: "ServiceClient", model: str) -> float:
    """A new adapter says what the base says (B = 0)."""
    from tinker import ModelInput

    base = service.create_sampling_client(base_model=model).result()
    heard = [base.compute_logprobs(ModelInput.from_ints(list(text.tokens))).result()[1:] for text in texts(99)]
    return apart(Run.start(service, model).read(), [value for row in heard for value in row if value is not None])


def sampler_and_trainer(service: "ServiceClient", model: str) -> float:
    """A sampler on trained weights says what the trainer says."""
    from tinker import ModelInput

    run = Run.start(service, model)
    run.train(range(3))
    sampler = run.client.save_weights_and_get_sampling_client().result()
    heard = [sampler.compute_logprobs(ModelInput.from_ints(list(text.tokens))).result()[1:] for text in texts(99)]
    return apart(run.read(), [value for row in heard for value in row if value is not None])


def sampled_and_scored(service: "ServiceClient", model: str) -> float:
    """The log-probability of a sampled token is the one the trainer gives it."""
    from tinker import ModelInput, SamplingParams

    run = Run.start(service, model)
    run.train(range(2))
    sampler = run.client.save_weights_and_get_sampling_client().result()
    text = texts(99)[0]
    params = SamplingParams(max_tokens=8, temperature=1.0, seed=3, stop=[])
    reply = sampler.sample(ModelInput.from_ints(list(text.tokens)), 1, params).result().sequences[0]
    full = (*text.tokens, *reply.tokens)
    scored = run.client.forward([datum(type(text)(full, (1.0,) * (len(full) - 1)))], "cross_entropy").result()
    return apart(scored.loss_fn_outputs[0]["logprobs"].tolist()[-len(reply.tokens) :], list(reply.logprobs or ()))


def weighted_sum(service: "ServiceClient", model: str) -> float:
    """`loss:sum` is the weighted sum over all tokens of the batch: nothing is averaged."""
    run = Run.start(service, model)
    output = run.client.forward(lessons(1), "cross_entropy").result()
    rows = zip(texts(1), output.loss_fn_outputs, strict=True)
    wanted = sum(
        -weight * value
        for text, fields in rows
        for weight, value in zip(text.weights, fields["logprobs"].tolist(), strict=True)
    )
    return abs(wanted - output.metrics["loss:sum"]) / abs(wanted)


def chunks(service: "ServiceClient", model: str) -> float:
    """A batch in parts of unequal size gives the gradient of the whole batch."""
    whole, parted = Run.start(service, model), Run.start(service, model)
    whole.learn(lessons(1))
    # Unequal, as Adam would hide a factor that all parts have in common.
    for part in (lessons(1)[:1], lessons(1)[1:]):
        parted.learn(part)
    for run in (whole, parted):
        run.step()
    return apart(whole.read(), parted.read())


def interleaved(service: "ServiceClient", model: str) -> float:
    """A run among others learns what it learns alone."""
    alone = Run.start(service, model)
    alone.train(range(3))
    one, other = Run.start(service, model), Run.start(service, model, rank=4, seed=5)
    for seed in range(3):
        one.learn(lessons(seed))
        other.learn(lessons(seed + 50))
        other.step()
        one.step()
    return apart(alone.read(), one.read())


def repeated(service: "ServiceClient", model: str) -> float:
    """The same script gives the same losses."""
    first, second = Run.start(service, model).train(range(4)), Run.start(service, model).train(range(4))
    return apart(first, second)


def resumed(service: "ServiceClient", model: str) -> float:
    """A run restored with its optimizer goes on as the straight one does."""
    straight, broken = Run.start(service, model), Run.start(service, model)
    straight.train(range(4))
    broken.train(range(2))
    path = broken.client.save_state("verify").result().path
    again = Run(service.create_training_client_from_state_with_optimizer(path).result())
    again.train(range(2, 4))
    return apart(straight.read(), again.read())


def no_weight(service: "ServiceClient", model: str) -> float:
    """Tokens without weight teach nothing."""
    run = Run.start(service, model)
    before = run.read()
    run.learn([datum(text, weights=[0.0] * len(text.weights)) for text in texts(1)])
    run.step()
    return apart(before, run.read())


def linear(service: "ServiceClient", model: str) -> float:
    """Gradients add up: w and then -w leave nothing to step on."""
    run = Run.start(service, model)
    before = run.read()
    for sign in (1.0, -1.0):
        run.learn([datum(text, weights=[sign * weight for weight in text.weights]) for text in texts(1)])
    run.step(rate=1e-6)
    return apart(before, run.read())


def forward_only(service: "ServiceClient", model: str) -> float:
    """Forward leaves no gradient behind."""
    plain, peeking = Run.start(service, model), Run.start(service, model)
    peeking.client.forward(lessons(7), "cross_entropy").result()
    for run in (plain, peeking):
        run.train(range(2))
    return apart(plain.read(), peeking.read())


def custom_loss(service: "ServiceClient", model: str) -> float:
    """A client-side cross entropy steps where the built-in one does."""
    import torch

    built_in, custom = Run.start(service, model), Run.start(service, model)
    built_in.learn(lessons(1))

    def weighted(_data: object, logprobs: list[torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        rows = zip(texts(1), logprobs, strict=True)
        return torch.stack([-(torch.tensor(text.weights) * row).sum() for text, row in rows]).sum(), {}

    custom.client.forward_backward_custom(lessons(1), weighted).result()
    for run in (built_in, custom):
        run.step()
    return apart(built_in.read(), custom.read())


def on_policy(loss: str, config: dict[str, float] | None = None) -> Check:
    """At ratio 1 a policy loss has the gradient of cross entropy weighted by the advantages."""

    def measure(service: "ServiceClient", model: str) -> float:
        plain, policy = Run.start(service, model), Run.start(service, model)
        output = plain.client.forward(lessons(1), "cross_entropy").result()
        known = [fields["logprobs"].tolist() for fields in output.loss_fn_outputs]
        data = [datum(text, logprobs=row, advantages=text.weights) for text, row in zip(texts(1), known, strict=True)]
        plain.learn(lessons(1))
        policy.learn(data, loss, config)
        for run in (plain, policy):
            run.learn(lessons(2))  # Adam would hide a factor, were this all there is
            run.step()
        return apart(plain.read(), policy.read())

    return measure


def clipped(service: "ServiceClient", model: str) -> float:
    """Beyond the threshold PPO pulls no more: the step is that of no data at all."""
    run = Run.start(service, model)
    before = run.read()
    output = run.client.forward(lessons(1), "cross_entropy").result()
    rows = [[value - 1.0 for value in fields["logprobs"].tolist()] for fields in output.loss_fn_outputs]
    run.learn(
        [datum(text, logprobs=row, advantages=text.weights) for text, row in zip(texts(1), rows, strict=True)], "ppo"
    )
    run.step()
    return apart(before, run.read())


def apart(first: list[float], second: list[float]) -> float:
    """Infinite where the two do not even have the same length."""
    if len(first) != len(second):
        return float("inf")
    return max(abs(a - b) for a, b in zip(first, second, strict=True))


CLAIMS = (
    Claim("a fresh adapter says what the base says", TIGHT, fresh_adapter),
    Claim("sampler and trainer agree on a text", TIGHT, sampler_and_trainer),
    Claim("sampler and trainer agree on a sampled reply", TIGHT, sampled_and_scored),
    Claim("the loss is the weighted sum", EXACT, weighted_sum),
    Claim("a batch in parts is the whole batch", TIGHT, chunks),
    Claim("a run among others is the run alone", EXACT, interleaved),
    Claim("the same script gives the same losses", EXACT, repeated),
    Claim("resumed is straight", EXACT, resumed),
    Claim("no weight, no lesson", EXACT, no_weight),
    Claim("opposite gradients cancel", TIGHT, linear),
    Claim("forward leaves no gradient", EXACT, forward_only),
    Claim("custom loss is the built-in one", TIGHT, custom_loss),
    Claim("importance_sampling at ratio 1", TIGHT, on_policy("importance_sampling")),
    Claim("ppo at ratio 1", TIGHT, on_policy("ppo")),
    Claim("cispo at ratio 1", TIGHT, on_policy("cispo")),
    Claim("dro at ratio 1", TIGHT, on_policy("dro", {"beta": 0.05})),
    Claim("ppo beyond the threshold pulls no more", EXACT, clipped),
)
