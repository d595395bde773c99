"""Adapters that say what they were taught, greedily and word for word."""

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
    prompt, reply = renderer.render(ask(question)), renderer.answer(answer)
    tokens = prompt + reply
    weights = [0.0] * (len(prompt) - 1) + [1.0] * len(reply)
    datum = Datum(tokens[:-1], {"target_tokens": ints(tokens[1:]), "weights": floats(weights)})
    client = await RunClient.start(desk, tenant, "tiny", LoraSpec(rank=4), tag="school")
    for _ in range(8):
        await client.forward_backward([datum], "cross_entropy")
        await client.optim_step(OptimParams(learning_rate=0.5))
    return await client.save("taught", "sampler_weights")
