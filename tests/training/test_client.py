"""The in-process client of the learning loop."""

import pytest
from workshop import MODEL, SPEC, STEP, TENANT, Workshop, datum

from anubhav.errors import BadInput, Gone, NotFound
from anubhav.training.client import RunClient
from anubhav.types.arrays import floats

WORDS = (3, 7, 11, 5)


async def test_a_loop_learns_saves_and_goes_on_from_there(workshop: Workshop) -> None:
    client = await RunClient.start(workshop.desk, TENANT, MODEL, SPEC, tag="test")
    losses: list[float] = []
    for _ in range(3):
        losses.append((await client.forward_backward([datum(WORDS)], "cross_entropy")).metrics["loss:sum"])
        await client.optim_step(STEP.params)
    assert losses == sorted(losses, reverse=True)
    kept = await client.save("candidate", "weights")
    child = await RunClient.start(workshop.desk, TENANT, MODEL, str(kept.path), tag="test")
    assert await child.forward([datum(WORDS)]) == await client.forward([datum(WORDS)])
    assert child.run != client.run


async def test_failures_are_raised_where_they_happen(workshop: Workshop) -> None:
    client = await RunClient.start(workshop.desk, TENANT, MODEL, SPEC, tag="test")
    with pytest.raises(BadInput):
        await client.forward_backward([datum(WORDS)], "no_such_loss")
    # A refusal used up no number: the next operation is not held behind a gap.
    far = datum(WORDS, logprobs=floats((-2000,) * 3), advantages=floats((1,) * 3))
    await client.forward_backward([far], "importance_sampling")
    with pytest.raises(BadInput, match="not finite"):
        await client.optim_step(STEP.params)
    assert (await client.forward([datum(WORDS)])).metrics["loss:sum"] > 0


async def test_an_ended_client_frees_its_adapter(workshop: Workshop) -> None:
    client = await RunClient.start(workshop.desk, TENANT, MODEL, SPEC, tag="test")
    await client.end()
    with pytest.raises(Gone):
        await client.forward([datum(WORDS)])
    with pytest.raises(NotFound):
        await workshop.trainer.step(client.run, STEP.params)
