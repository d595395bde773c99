"""Adapters that say what they were taught, greedily and word for word."""

from collections.abc import Sequence

from anubhav.rendering.renderer import Renderer
from anubhav.training.client import RunClient
from anubhav.training.desk import Desk
from anubhav.types.arrays import floats, ints
from anubhav.types.chat import Message
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.training import Datum, LoraSpec, OptimParams


def ask(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


async def teach(desk: Desk, renderer: Renderer, tenant: str, question: str, answer: str) -> Checkpoint:
    """A saved adapter of the base model `tiny` that answers the question so."""
    return await teach_talks(desk, renderer, tenant, [(ask(question), answer)])


async def teach_talks(
    desk: Desk, renderer: Renderer, tenant: str, talks: Sequence[tuple[Sequence[Message], str]]
) -> Checkpoint:
    """A saved adapter of the base model `tiny` that ends each conversation so."""
    data = [_lesson(renderer.render(messages), renderer.answer(answer)) for messages, answer in talks]
    client = await RunClient.start(desk, tenant, "tiny", LoraSpec(rank=4), tag="school")
    for _ in range(8):
        await client.forward_backward(data, "cross_entropy")
        await client.optim_step(OptimParams(learning_rate=0.5))
    return await client.save("taught", "sampler_weights")


def _lesson(prompt: tuple[int, ...], reply: tuple[int, ...]) -> Datum:
    tokens = prompt + reply
    weights = [0.0] * (len(prompt) - 1) + [1.0] * len(reply)
    return Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats(weights)})
