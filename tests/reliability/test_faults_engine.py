"""What goes wrong inside an engine: it costs the request that met it, by a typed error, and nobody else anything.

Faults are planted at the engine's innermost call and go off by what is asked: a token, or a place in the text.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tinker
import torch
from deadlines import fails, within
from loopback import Loopback
from tinker import types

from anubhav.backends.torch.training import trainer as arithmetic
from anubhav.http.tinker import futures as polls

pytestmark = pytest.mark.tinker_sdk

MODEL = "tiny"
POISON = 250
"""The token at which planted faults go off."""
FAR = 45
"""Or a place in the text that only some samples come to."""
FAILED = tinker.RequestFailedError
RATE = types.AdamParams(learning_rate=1e-2)


class Crash(BaseException):
    """What no layer can foresee."""


FAULTS: list[tuple[str, BaseException, str]] = [
    ("no memory", MemoryError(), "memory"),
    ("no memory on the device", torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"), "memory"),
    ("no memory, said otherwise", RuntimeError("[enforce] DefaultCPUAllocator: can't allocate memory"), "memory"),
    ("an error of the device", RuntimeError("CUDA error: an illegal memory access was encountered"), "log"),
    ("a bug", KeyError("layer 7 of /home/secret"), "log"),
]


def datum(*tokens: int) -> types.Datum:
    inputs = {"target_tokens": list(tokens[1:]), "weights": [1.0] * (len(tokens) - 1)}
    return types.Datum(model_input=types.ModelInput.from_ints(list(tokens[:-1])), loss_fn_inputs=inputs)


GOOD = [datum(5, 6, 7, 8, 9), datum(5, 6, 10, 11)]
BAD = [datum(5, 6, POISON, 8)]


def learn(client: tinker.TrainingClient, data: list[types.Datum] = GOOD) -> list[list[float]]:
    told = client.forward_backward(data, "cross_entropy").result()
    return [list(one["logprobs"].data) for one in told.loss_fn_outputs]


def say(client: tinker.SamplingClient, *prompt: int, most: int = 3) -> Any:
    params = types.SamplingParams(max_tokens=most, seed=1, stop=[], temperature=1.0)
    return client.sample(types.ModelInput.from_ints(list(prompt)), 1, params)


@pytest.fixture(scope="module")
def mine(torch_house: Loopback) -> Iterator[tinker.ServiceClient]:
    with tinker.ServiceClient(base_url=torch_house.url, api_key=torch_house.key) as service:
        yield service


@pytest.fixture(scope="module")
def theirs(torch_house: Loopback) -> Iterator[tinker.ServiceClient]:
    """Another tenant's."""
    with tinker.ServiceClient(base_url=torch_house.url, api_key=torch_house.add_key("neighbour")) as service:
        yield service


@pytest.fixture
def client(mine: tinker.ServiceClient) -> tinker.TrainingClient:
    return within(lambda: mine.create_lora_training_client(MODEL, rank=4, seed=1).result())


@pytest.fixture
def neighbour(theirs: tinker.ServiceClient) -> tinker.TrainingClient:
    return within(lambda: theirs.create_lora_training_client(MODEL, rank=4, seed=1).result())


@pytest.fixture
def engine(torch_house: Loopback) -> Any:
    return torch_house.house.desk._trainers[MODEL]._engine


@pytest.fixture
def base(mine: tinker.ServiceClient) -> tinker.SamplingClient:
    return within(lambda: mine.create_sampling_client(base_model=MODEL).result())


def plant(
    patch: pytest.MonkeyPatch, engine: Any, problem: BaseException | Callable[[], None], *, far: bool = False
) -> None:
    """Let the model fail where the poison, or a far place, is among what it reads."""
    hidden = engine.model.hidden

    def spoilt(tokens_T: torch.Tensor, positions_T: torch.Tensor, *rest: Any) -> torch.Tensor:  # noqa: N803
        found = (positions_T == FAR) if far else (tokens_T == POISON)
        if found.any():
            if isinstance(problem, BaseException):
                raise problem
            problem()
        return hidden(tokens_T, positions_T, *rest)

    patch.setattr(engine.model, "hidden", spoilt)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_a_pass_fails_alone(
    client: tinker.TrainingClient,
    neighbour: tinker.TrainingClient,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[str, BaseException, str],
) -> None:
    _, problem, word = fault
    plant(monkeypatch, engine, problem)
    before = within(lambda: learn(client))
    waiting = neighbour.forward_backward(GOOD, "cross_entropy")
    failure = fails(lambda: learn(client, BAD), FAILED, word)
    assert "secret" not in str(failure)
    assert [list(one["logprobs"].data) for one in within(waiting.result).loss_fn_outputs] == before
    # The gradient of the pass before it is there, and nothing of its own.
    assert within(client.optim_step(RATE).result).metrics == within(neighbour.optim_step(RATE).result).metrics
    assert within(lambda: learn(client)) == within(lambda: learn(neighbour)) != before


def test_an_engine_that_crashes_comes_back(
    client: tinker.TrainingClient, base: tinker.SamplingClient, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ends what it held by typed errors, whoever asked, and goes on."""
    before = within(lambda: learn(client))
    plant(monkeypatch, engine, Crash("unforeseen"))
    fails(lambda: learn(client, BAD), FAILED, "engine failed")
    fails(lambda: say(base, 5, POISON).result(), FAILED, "engine failed")
    assert within(lambda: learn(client)) == before
    assert within(say(base, 5, 6).result).sequences


def test_a_step_that_fails_halfway_was_never_begun(
    client: tinker.TrainingClient, neighbour: tinker.TrainingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (client, neighbour):
        within(lambda one=one: learn(one))
    with monkeypatch.context() as patch:

        def half(parameters: list[torch.Tensor], *_: Any) -> None:
            with torch.no_grad():
                parameters[0].fill_(9.0)
            raise MemoryError

        patch.setattr(arithmetic.adamw, "update", half)
        fails(lambda: client.optim_step(RATE).result(), FAILED, "memory")
    for _ in range(2):
        assert within(client.optim_step(RATE).result).metrics == within(neighbour.optim_step(RATE).result).metrics
        assert within(lambda: learn(client)) == within(lambda: learn(neighbour))


@pytest.mark.parametrize("far", [False, True], ids=["at its prompt", "at a later token"])
@pytest.mark.parametrize("fault", FAULTS[:1] + FAULTS[-1:], ids=lambda fault: fault[0])
def test_a_sample_fails_alone(
    base: tinker.SamplingClient,
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[str, BaseException, str],
    far: bool,
) -> None:
    _, problem, word = fault
    others = [(5, 6, 7), (5, 6, 8), (9, 10)]
    alone = [within(say(base, *prompt, most=8).result).sequences[0].tokens for prompt in others]
    plant(monkeypatch, engine, problem, far=far)
    bad = [7] * (FAR - 4) if far else [5, POISON, 6]
    waiting = [say(base, *prompt, most=8) for prompt in (*others[:2], bad, *others[2:])]
    failure = fails(waiting.pop(2).result, FAILED, word)
    assert "secret" not in str(failure)
    assert [within(one.result).sequences[0].tokens for one in waiting] == alone


def test_no_memory_for_the_cache(base: tinker.SamplingClient, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(source: int, target: int) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(engine.sampling._cache, "copy", scarce)  # which only several samples of a prompt need
        alone = say(base, 5, 6, most=20)
        several = base.sample(types.ModelInput.from_ints([5, 6, 7]), 2, types.SamplingParams(max_tokens=4))
        fails(several.result, FAILED, "memory")
        assert len(within(alone.result).sequences[0].tokens) == 20
    several = base.sample(types.ModelInput.from_ints([5, 6, 7]), 2, types.SamplingParams(max_tokens=4))
    assert len(within(several.result).sequences) == 2


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("call", ["create", "save", "load"])
def test_other_work_of_the_trainer(
    mine: tinker.ServiceClient, client: tinker.TrainingClient, engine: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = within(client.save_state("sound", overwrite=True).result).path
    with monkeypatch.context() as patch:

        def broken(*_: Any, **__: Any) -> None:
            raise MemoryError

        patch.setattr(engine.training, {"create": "create", "save": "pupil", "load": "adopt"}[call], broken)
        asked: dict[str, Callable[[], Any]] = {
            "create": lambda: mine.create_lora_training_client(MODEL, rank=4).result(),
            "save": lambda: client.save_state("unsound").result(),
            "load": lambda: client.load_state(path).result(),
        }
        fails(asked[call], FAILED, "memory")
    assert within(lambda: learn(client))
    assert within(client.load_state(path).result).path == path
    assert within(client.save_state("unsound", overwrite=True).result).path


@pytest.mark.parametrize("fault", [FAULTS[0], FAULTS[-1]], ids=lambda fault: fault[0])
def test_a_backend_of_any_kind(
    fake_house: Loopback,
    service: tinker.ServiceClient,
    monkeypatch: pytest.MonkeyPatch,
    fault: tuple[str, BaseException, str],
) -> None:
    """What a backend was not to raise through its ports ends like what it was to."""
    _, problem, word = fault
    trainer, sampler = fake_house.house.desk._trainers[MODEL], fake_house.house.voices._samplers[MODEL]
    client, calm = (within(lambda: service.create_lora_training_client(MODEL, rank=4).result()) for _ in range(2))
    base = within(lambda: service.create_sampling_client(base_model=MODEL).result())
    for one in (client, calm):
        within(lambda one=one: learn(one))
    path = within(client.save_weights_for_sampler("sound").result).path

    async def spoilt(*_: Any, **__: Any) -> Any:
        raise problem

    async def spoilt_halfway(adapter: str, _: Any) -> Any:
        trainer._pupils[adapter].pulls = None
        raise problem

    def spoilt_sample(_: Any) -> Any:
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "step", spoilt_halfway)
        fails(lambda: client.optim_step(RATE).result(), FAILED, word)
    for name, call in {
        "run": lambda: learn(client),
        "save": lambda: client.save_state("unsound").result(),
        "create": lambda: service.create_lora_training_client(MODEL, rank=4).result(),
        "attach": lambda: say(service.create_sampling_client(model_path=path).result(), 5).result(),
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(sampler if name == "attach" else trainer, name, spoilt)
            assert "layer 7" not in str(fails(call, FAILED, "log" if name == "attach" else word))
    with monkeypatch.context() as patch:
        patch.setattr(sampler, "sample", spoilt_sample)
        fails(lambda: say(base, 5).result(), FAILED, "log")
    for _ in range(2):
        assert within(client.optim_step(RATE).result).metrics == within(calm.optim_step(RATE).result).metrics
        assert within(lambda: learn(client)) == within(lambda: learn(calm))
    assert within(say(base, 5).result).sequences


def test_an_engine_that_stalls_is_waited_for(
    client: tinker.TrainingClient, base: tinker.SamplingClient, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no deadline on the server's side: the SDK is told "not yet" until the result is there."""
    monkeypatch.setattr(polls, "_HOLD", 0.1)
    polled = threading.Semaphore(0)
    pending = polls.answers.pending
    monkeypatch.setattr(polls.answers, "pending", lambda *told, **more: (polled.release(), pending(*told, **more))[1])
    go_on = threading.Event()
    plant(monkeypatch, engine, lambda: go_on.wait(20))
    try:
        trained, said = client.forward_backward(BAD, "cross_entropy"), say(base, 5, POISON)
        for _ in range(6):
            assert polled.acquire(timeout=10), "nobody was told to wait"
        assert not trained.future().done()
        assert not said.future().done()
    finally:
        go_on.set()
    assert within(trained.result).loss_fn_outputs
    assert within(said.result).sequences
