"""Handing operations in: what is refused, what is a repeat, in which order things happen."""

import asyncio
import math
import time
from dataclasses import replace

import pytest
from workshop import CONTEXT, CREATE, HOPELESS, MODEL, SPEC, STEP, TENANT, VOCAB, Workshop, datum, learn, save, work

from anubhav.errors import AnubhavError, BadInput, Busy, Gone, Mismatch, NotFound
from anubhav.store import runs
from anubhav.training.promises import Created, Loaded, Saved, Stepped
from anubhav.types.arrays import floats, ints
from anubhav.types.ids import AdapterId, RunId
from anubhav.types.operations import Compute, Create, Load, Operation, Save, Step
from anubhav.types.training import Datum, LoraSpec, OptimParams, Pass, PassResult

WORDS = (3, 7, 11, 5)


def weighted(*weights: float) -> Datum:
    return datum(WORDS, weights=floats(weights))


BAD: dict[str, Operation] = {
    "rate": Step(OptimParams(learning_rate=math.nan)),
    "negative rate": Step(OptimParams(learning_rate=-1e-4)),
    "beta": Step(OptimParams(beta1=1.0)),
    "eps": Step(OptimParams(eps=0.0)),
    "loss": work(datum(WORDS), "no_such_loss"),
    "token": learn((3, VOCAB, 1)),
    "negative token": learn((3, -1, 1)),
    "too long": learn((1,) * (CONTEXT + 2)),
    "no data": Compute(Pass(AdapterId(""), (), "cross_entropy")),
    "no tokens": work(Datum((), {"target_tokens": ints(()), "weights": floats(())}), "cross_entropy"),
    "no targets": work(Datum((1,), {"weights": floats((1,))}), "cross_entropy"),
    "target": work(Datum((1,), {"target_tokens": ints((VOCAB,)), "weights": floats((1,))}), "cross_entropy"),
    "short weights": work(weighted(1.0, 1.0), "cross_entropy"),
    "infinite weight": work(weighted(1.0, math.inf, 0.0), "cross_entropy"),
    "weights that cancel": work(weighted(math.inf, -math.inf, 0.0), "cross_entropy"),
    "missing input": work(datum(WORDS), "importance_sampling"),
    "config": work(datum(WORDS, logprobs=floats((0,) * 3), advantages=floats((0,) * 3)), "ppo", low=math.nan),
    "second create": CREATE,
    "name": save("../up"),
    "path": Load("tinker://nobody:train:0/weights/x/..", optimizer=False),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_what_can_never_succeed_is_refused_and_leaves_no_trace(workshop: Workshop, bad: Operation) -> None:
    run = await workshop.new_run()
    with pytest.raises(BadInput) as refusal:
        await workshop.submit(run, 1, bad)
    assert refusal.value.hint
    assert await workshop.database.run(lambda c: runs.find_op(c, run, 1)) is None
    assert isinstance(await workshop.do(run, 1, learn(WORDS)), PassResult)


@pytest.mark.parametrize(
    "create", [Create("no-such-model", SPEC), Create(MODEL, LoraSpec(rank=0)), Create(MODEL, LoraSpec(rank=10_000))]
)
async def test_what_cannot_be_created_is_refused(workshop: Workshop, create: Create) -> None:
    session = await workshop.desk.open_session(TENANT, [], {}, "test")
    with pytest.raises(BadInput):
        await workshop.submit(RunId(f"{session}:train:0"), 0, create)


async def test_strangers_find_nothing(workshop: Workshop) -> None:
    run = await workshop.new_run()
    promise = await workshop.submit(run, 1, learn(WORDS))
    saved = await workshop.do(run, 2, save("mine"))
    assert isinstance(saved, Saved)
    desk = workshop.desk
    for ask in (
        lambda: desk.submit("mallory", run, 0, CREATE),
        lambda: desk.submit("mallory", run, 1, learn(WORDS)),
        lambda: desk.submit("mallory", run, 3, STEP),
        lambda: desk.submit("mallory", RunId(f"{run[:-1]}1"), 0, CREATE),
        lambda: desk.promises.wait("mallory", promise, 0),
        lambda: desk.run("mallory", run),
        lambda: desk.end("mallory", run),
        lambda: desk.checkpoints.find("mallory", saved.path),
        lambda: desk.checkpoints.delete("mallory", saved.path),
    ):
        with pytest.raises(NotFound):
            await ask()
    assert await desk.checkpoints.list("mallory", None) == []
    assert await desk.runs("mallory") == []
    assert [one.id for one in await desk.runs(TENANT)] == [run]


async def test_a_repeat_is_the_same_promise_and_no_second_gradient(workshop: Workshop) -> None:
    once, twice = await workshop.new_run(), await workshop.new_run()
    await workshop.do(once, 1, learn(WORDS))
    promises = await asyncio.gather(*(workshop.submit(twice, 1, learn(WORDS)) for _ in range(5)))
    assert len(set(promises)) == 1
    first = await workshop.wait(promises[0])
    assert await workshop.wait(await workshop.submit(twice, 1, learn(WORDS))) == first
    norms = [await workshop.do(run, 2, STEP) for run in (once, twice)]
    assert norms[0] == norms[1]


async def test_a_number_used_again_for_something_else_is_a_mismatch(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await workshop.do(run, 1, learn(WORDS))
    with pytest.raises(Mismatch):
        await workshop.submit(run, 1, learn(WORDS, backward=False))
    with pytest.raises(Mismatch):
        await workshop.submit(run, 0, Create(MODEL, replace(SPEC, rank=5)))


async def test_a_sampler_save_sent_again_may_name_another_sampler(workshop: Workshop) -> None:
    """As the SDK does; a save that opens a sampler is still not one that opens none."""
    run = await workshop.new_run()
    first, second = (f"{run.partition(':train:')[0]}:sample:{number}" for number in range(2))
    snapshot = Save("sampler_weights", "eval", sampler=first)
    promise = await workshop.submit(run, 1, snapshot)
    assert await workshop.submit(run, 1, replace(snapshot, sampler=second)) == promise
    with pytest.raises(Mismatch):
        await workshop.submit(run, 1, replace(snapshot, sampler=None))
    saved = await workshop.wait(promise)
    assert isinstance(saved, Saved)
    assert saved.sampler == first


async def test_a_session_is_made_once_per_idempotency_key(workshop: Workshop) -> None:
    one, two, other, stranger = [
        await workshop.desk.open_session(tenant, [], {}, "test", key)
        for tenant, key in ((TENANT, "k1"), (TENANT, "k1"), (TENANT, "k2"), ("mallory", "k1"))
    ]
    assert one == two
    assert len({one, other, stranger}) == 3


async def test_later_chunks_may_come_first(workshop: Workshop) -> None:
    """The SDK sends chunk 1 only after the others were accepted."""
    run = await workshop.new_run()
    late = [await workshop.submit(run, seq, operation) for seq, operation in ((3, STEP), (2, learn((1, 2))))]
    assert await workshop.desk.promises.wait(TENANT, late[0], 0.05) is None
    await workshop.do(run, 1, learn(WORDS))
    stepped, second = await asyncio.gather(*map(workshop.wait, late))
    assert isinstance(stepped, Stepped)
    assert stepped.metrics["grad_norm"] > 0
    assert isinstance(second, PassResult)
    again = await workshop.do(run, 4, learn(WORDS, backward=False))
    assert isinstance(again, PassResult)


async def test_a_failed_operation_is_final_and_the_run_goes_on(workshop: Workshop) -> None:
    run = await workshop.new_run()
    await workshop.do(run, 1, HOPELESS)
    promise = await workshop.submit(run, 2, STEP)
    failure = await workshop.wait(promise)
    assert isinstance(failure, BadInput)
    assert "not finite" in failure.message
    stored = await workshop.wait(promise)
    assert (type(stored), str(stored)) == (BadInput, str(failure))
    await workshop.do(run, 3, learn(WORDS))
    assert isinstance(await workshop.do(run, 4, STEP), Stepped)


async def test_a_broken_engine_fails_one_operation(workshop: Workshop, caplog: pytest.LogCaptureFixture) -> None:
    run = await workshop.new_run()
    # A hole in the fake: a row of an adapter that is not a table.
    workshop.trainer._pupils[AdapterId(run)].rows = None  # type: ignore[assignment]
    failure = await workshop.do(run, 1, learn(WORDS))
    assert isinstance(failure, AnubhavError)
    assert "log" in failure.hint
    assert any(record.exc_info for record in caplog.records)
    workshop.trainer._pupils[AdapterId(run)].rows = {}
    assert isinstance(await workshop.do(run, 2, learn(WORDS)), PassResult)


async def test_runs_take_turns(workshop: Workshop) -> None:
    """A short run does not wait for the long queue of another."""
    long, short = await workshop.new_run(), await workshop.new_run()
    queue = [await workshop.submit(long, seq, learn((1, 2, 3), (2, 3, 4))) for seq in range(60, 0, -1)]
    await workshop.do(short, 1, learn(WORDS))
    assert await workshop.desk.promises.wait(TENANT, queue[0], 0) is None
    await workshop.wait(queue[0])


async def test_an_operation_takes_a_few_milliseconds(workshop: Workshop) -> None:
    run = await workshop.new_run()
    times: list[float] = []
    for seq in range(1, 41):
        started = time.perf_counter()
        await workshop.do(run, seq, learn(WORDS))
        times.append(time.perf_counter() - started)
    assert sorted(times)[len(times) // 2] < 0.02


async def test_everybody_who_waits_is_told(workshop: Workshop) -> None:
    run = await workshop.new_run()
    promise = await workshop.submit(run, 2, STEP)
    waiters = [asyncio.create_task(workshop.wait(promise)) for _ in range(5)]
    assert await workshop.desk.promises.wait(TENANT, promise, 0.02) is None
    waiters[0].cancel()
    await workshop.do(run, 1, learn(WORDS))
    outcomes = await asyncio.gather(*waiters[1:])
    assert all(isinstance(outcome, Stepped) for outcome in outcomes)


async def test_numbers_far_ahead_are_put_off(workshop: Workshop) -> None:
    run = await workshop.new_run()
    with pytest.raises(Busy):
        await workshop.submit(run, 5000, STEP)
    await workshop.submit(run, 4000, STEP)
    assert isinstance(await workshop.do(run, 1, learn(WORDS)), PassResult)


async def test_an_ended_run_takes_nothing_and_owes_nothing(workshop: Workshop) -> None:
    run = await workshop.new_run()
    done = await workshop.submit(run, 1, learn(WORDS))
    await workshop.wait(done)
    gap = await workshop.submit(run, 3, STEP)
    waiter = asyncio.create_task(workshop.wait(gap))
    await asyncio.sleep(0.01)
    await workshop.desk.end(TENANT, run)
    assert isinstance(await waiter, Gone)
    with pytest.raises(Gone):
        await workshop.submit(run, 2, STEP)
    assert await workshop.submit(run, 1, learn(WORDS)) == done
    assert isinstance(await workshop.wait(done), PassResult)


async def test_a_finished_session_ends_its_runs_and_begins_no_more(workshop: Workshop) -> None:
    run, other = await workshop.new_run(), await workshop.new_run()
    saved = await workshop.do(run, 1, save("kept"))
    session = run.partition(":")[0]
    with pytest.raises(NotFound):
        await workshop.desk.finish_session("mallory", session, "success")
    for _ in range(2):
        await workshop.desk.finish_session(TENANT, session, "success")
    for late in (workshop.submit(run, 2, STEP), workshop.submit(RunId(f"{session}:train:1"), 0, CREATE)):
        with pytest.raises(Gone):
            await late
    with pytest.raises(NotFound):  # the trainer forgot its adapter
        await workshop.trainer.step(AdapterId(run), OptimParams())
    assert isinstance(await workshop.do(other, 1, learn(WORDS)), PassResult)
    assert isinstance(saved, Saved)
    assert isinstance(await workshop.do(other, 2, Load(saved.path, optimizer=False)), Loaded)


async def test_a_run_is_born_from_a_checkpoint(workshop: Workshop) -> None:
    run = await workshop.new_run()
    for seq in (1, 3):
        await workshop.do(run, seq, learn(WORDS))
        await workshop.do(run, seq + 1, STEP)
    saved = await workshop.do(run, 5, save("both"))
    light = await workshop.do(run, 6, save("light", "sampler_weights"))
    assert isinstance(saved, Saved)
    assert isinstance(light, Saved)
    child = RunId(f"{run[:-1]}7")
    assert await workshop.do(child, 0, Load(saved.path, optimizer=True)) == Created(child)
    for one, seq in ((run, 7), (child, 1)):
        await workshop.do(one, seq, learn(WORDS))
    assert await workshop.do(run, 8, STEP) == await workshop.do(child, 2, STEP)
    info = await workshop.desk.run(TENANT, child)
    assert (info.base_model, info.spec) == (MODEL, SPEC)
    with pytest.raises(BadInput, match="without its optimizer"):
        await workshop.submit(child, 3, Load(light.path, optimizer=True))
    assert await workshop.do(child, 3, Load(light.path, optimizer=False)) == Loaded(light.path)
    fresh = await workshop.do(child, 4, learn(WORDS, backward=False))
    assert isinstance(fresh, PassResult)


async def test_a_checkpoint_of_another_shape_does_not_fit(workshop: Workshop) -> None:
    run = await workshop.new_run()
    saved = await workshop.do(run, 1, save("four"))
    assert isinstance(saved, Saved)
    other = RunId(f"{run[:-1]}1")
    await workshop.do(other, 0, Create(MODEL, replace(SPEC, train_mlp=False)))
    with pytest.raises(BadInput, match="does not fit"):
        await workshop.submit(other, 1, Load(saved.path, optimizer=False))
