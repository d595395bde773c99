"""Posts, trainers and samplers without a cluster: hosts that die on cue."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from fake_model import write_model
from ray.exceptions import RayActorError

import anubhav
from anubhav.cluster.remote import post as posts
from anubhav.cluster.remote import sampler as sampling
from anubhav.cluster.remote.connection import Node, share
from anubhav.cluster.remote.host import Host
from anubhav.cluster.remote.post import Post
from anubhav.cluster.remote.sampler import RemoteSampler
from anubhav.cluster.remote.trainer import RemoteTrainer
from anubhav.errors import BadInput, Lost, MissingPart, NotFound
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import Sampled, SampleRequest, SamplingParams
from anubhav.types.training import LoraSpec, OptimParams

A = AdapterId("a")


class Reference:
    def __init__(self, work: "asyncio.Task[Any]") -> None:
        self._work = work

    def future(self) -> "Future[Any]":
        answer: Future[Any] = Future()

        def pass_on(done: "asyncio.Task[Any]") -> None:
            if answer.cancelled() or done.cancelled():
                return
            if problem := done.exception():
                answer.set_exception(problem)
            else:
                answer.set_result(done.result())

        self._work.add_done_callback(pass_on)
        return answer


class Handle:
    """A host in this process, called as Ray calls an actor, until it is struck dead."""

    def __init__(self) -> None:
        self.host = Host()
        self.dead = asyncio.Event()
        self.calls: list[str] = []

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Remote:
            @staticmethod
            def remote(*words: Any) -> Reference:
                handle.calls.append(method)
                return Reference(asyncio.create_task(handle._call(method, words)))

        return Remote

    async def _call(self, method: str, words: tuple[Any, ...]) -> Any:
        work = asyncio.create_task(getattr(self.host, method)(*words))
        death = asyncio.create_task(self.dead.wait())
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        death.cancel()
        if self.dead.is_set():
            work.cancel()
            raise RayActorError
        return work.result()


class Pending(Handle):
    """Nowhere is there room for it."""

    async def _call(self, method: str, words: tuple[Any, ...]) -> Any:
        await self.dead.wait()
        raise RayActorError


Place = Callable[[str], tuple[Post, list[Handle]]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    write_model(tmp_path / "tiny")
    monkeypatch.setattr(posts, "kill", lambda handle: handle.dead.set())
    monkeypatch.setattr(posts, "_BEAT", 0.05)
    monkeypatch.setattr(sampling, "put", lambda value: value)

    def make(name: str) -> tuple[Post, list[Handle]]:
        hired: list[Handle] = []

        def hire() -> Handle:
            hired.append(Handle())
            return hired[-1]

        return Post(name, hire, (str(tmp_path / "tiny"), None, anubhav.__version__)), hired  # pyright: ignore

    return make


async def test_what_a_dead_host_held_is_lost_until_it_is_brought_again(place: Place) -> None:
    post, hired = place("trainer")
    trainer = RemoteTrainer(post)
    await trainer.create(A, LoraSpec())
    assert (await trainer.step(A, OptimParams()))["step"] == 0
    hired[0].dead.set()
    with pytest.raises(Lost):
        await trainer.step(A, OptimParams())
    # The post is filled anew, and what it held is still lost.
    for _ in range(2):
        with pytest.raises(Lost):
            await trainer.step(A, OptimParams())
    assert (post.term, len(hired)) == (2, 2)
    assert "step" not in hired[1].calls
    await trainer.create(A, LoraSpec())
    assert (await trainer.step(A, OptimParams()))["step"] == 0


async def test_a_trainer_moves_between_two_calls(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    post, hired = place("trainer")
    trainer = RemoteTrainer(post)
    await trainer.create(A, LoraSpec())
    going, step = asyncio.Event(), hired[0].host.step

    async def slow(*words: Any) -> Any:
        await going.wait()
        return await step(*words)

    monkeypatch.setattr(hired[0].host, "step", slow)
    under_way = asyncio.create_task(trainer.step(A, OptimParams()))
    moving = asyncio.create_task(post.move(patience=0))
    while post.term == 1:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)
    # Nobody else is served by who leaves, and it is not let go before its call has ended.
    with pytest.raises(Lost):
        await trainer.step(A, OptimParams())
    assert not moving.done()
    going.set()
    assert (await under_way)["step"] == 0
    await moving
    assert [handle.dead.is_set() for handle in hired] == [True, False]


@pytest.mark.parametrize(("patience", "begun"), [(60.0, [1, 0]), (0.0, [1, 1])])
async def test_streams_end_where_they_began_or_go_on_elsewhere(
    tmp_path: Path, place: Place, patience: float, begun: list[int]
) -> None:
    config = tmp_path / "tiny" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"pace": 0.01}))
    quiet = await said(RemoteSampler([place("another")[0]]).sample(REQUEST))
    post, hired = place("sampler")
    stream = RemoteSampler([post]).sample(REQUEST)
    first = await anext(stream)
    moving = asyncio.create_task(post.move(patience))
    rest = await said(stream)
    await moving
    assert {**rest, first.index: [*first.tokens, *rest[first.index]]} == quiet
    assert [handle.calls.count("begin") for handle in hired] == begun
    assert [handle.dead.is_set() for handle in hired] == [True, False]


async def test_news_that_nobody_heard_are_told_again(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    host = Host()
    await host.open(str(tmp_path / "tiny"), None, anubhav.__version__)
    given_up = asyncio.create_task(host.listen(0))
    await asyncio.sleep(0)
    await host.begin("a", SampleRequest((5,), SamplingParams(6, seed=1)))
    await given_up  # it took what came first, and whoever asked is gone
    tokens: list[int] = []
    number, ended = 0, False
    while not ended:
        news = await host.listen(number)
        number = news.number
        for _, heard in news.told:
            tokens += [token for event in heard.events for token in event.tokens]
            ended = heard.ended
    assert len(tokens) == 6


async def test_many_streams_are_heard_with_one_call(place: Place) -> None:
    post, hired = place("one")
    sampler = RemoteSampler([post])
    alone = await said(sampler.sample(REQUEST))
    listens = hired[0].calls.count("listen")
    assert await asyncio.gather(*(said(sampler.sample(REQUEST)) for _ in range(20))) == [alone] * 20
    assert hired[0].calls.count("listen") - listens < 20


async def test_requests_do_not_wait_for_a_post_that_has_no_room(place: Place) -> None:
    (one, first), (two, _) = place("one"), place("two")
    sampler = RemoteSampler([one, two])
    await asyncio.gather(one.open(), two.open())
    one._hire = lambda: Pending()  # pyright: ignore
    first[0].dead.set()
    for seed in range(8):
        assert await said(sampler.sample(SampleRequest((seed,), SamplingParams(3, seed=1))))
    assert (one.filled, two.filled) == (False, True)
    one.close()


async def test_an_adapter_nobody_had_is_unknown_and_not_lost(place: Place) -> None:
    post, _ = place("trainer")
    with pytest.raises(NotFound):
        await RemoteTrainer(post).step(A, OptimParams())


async def test_a_host_that_is_silent_is_dead(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posts, "_SILENCE", 0.1)
    post, hired = place("trainer")
    await post.open()

    async def hang(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(hired[0].host, "ping", hang)
    monkeypatch.setattr(hired[0].host, "step", hang)
    with pytest.raises(Lost):
        await post.call("step", A, OptimParams())
    assert hired[0].dead.is_set()


async def test_a_host_that_works_for_long_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    post, hired = place("trainer")
    await post.open()

    async def work(*_: Any) -> int:
        await asyncio.sleep(0.4)
        return 7

    monkeypatch.setattr(hired[0].host, "step", work)
    assert await post.call("step", A, OptimParams()) == 7
    assert hired[0].calls.count("ping") >= 2


async def test_another_version_and_a_missing_model_are_told_by_name(tmp_path: Path, place: Place) -> None:
    post, _ = place("trainer")
    post._papers = (str(tmp_path / "elsewhere"), None, anubhav.__version__)  # pyright: ignore
    with pytest.raises(MissingPart, match="has no model"):
        await post.open()
    post._papers = (str(tmp_path / "tiny"), None, "9.9.9")  # pyright: ignore
    with pytest.raises(MissingPart, match=r"9\.9\.9"):
        await post.open()


REQUEST = SampleRequest((5, 6, 7), SamplingParams(24, seed=3), n=3)


async def said(stream: AsyncGenerator[Sampled]) -> dict[int, list[int]]:
    tokens: dict[int, list[int]] = {}
    async for event in stream:
        tokens.setdefault(event.index, []).extend(event.tokens)
        assert len(event.tokens) == len(event.logprobs)
    return tokens


async def test_a_stream_goes_on_elsewhere_where_it_was_cut_off(place: Place) -> None:
    (one, first), (two, second) = place("one"), place("two")
    sampler = RemoteSampler([one, two])
    quiet = await said(sampler.sample(REQUEST))

    async def struck() -> AsyncGenerator[Sampled]:
        count = 0
        async for event in sampler.sample(REQUEST):
            yield event
            count += 1
            if count == 5:
                busy = first if first and "begin" in first[-1].calls else second
                busy[-1].dead.set()

    assert await said(struck()) == quiet
    assert one.term + two.term >= 2


async def test_closing_a_stream_frees_it(place: Place) -> None:
    post, hired = place("one")
    stream = RemoteSampler([post]).sample(SampleRequest((5,), SamplingParams(400)))
    await anext(stream)
    await stream.aclose()
    for _ in range(100):
        if not (await hired[0].host.ping())["streams"]:
            break
        await asyncio.sleep(0.01)
    assert (await hired[0].host.ping())["streams"] == 0


async def test_the_same_beginning_goes_to_the_same_host_and_a_crowd_spreads(place: Place) -> None:
    made = [place(name) for name in ("one", "two", "three")]
    sampler = RemoteSampler([post for post, _ in made])
    for _ in range(4):
        await said(sampler.sample(REQUEST))
    assert sorted(sum(handle.calls.count("begin") for handle in hired) for _, hired in made) == [0, 0, 4]
    crowd = [said(sampler.sample(REQUEST)) for _ in range(12)]
    await asyncio.gather(*crowd)
    assert all(any("begin" in handle.calls for handle in hired) for _, hired in made)


@pytest.mark.parametrize(
    ("models", "samplers", "nodes", "each"),
    [(1, 1, [4], 2), (1, 2, [4], 1), (1, 2, [2, 2], 1), (1, 1, [2, 2], 2), (1, 1, [8, 1], 4), (2, 1, [0, 4], 1)],
)
def test_every_host_finds_room(models: int, samplers: int, nodes: list[int], each: int) -> None:
    assert share(models, samplers, [Node(count) for count in nodes]) == each


@pytest.mark.parametrize(
    ("models", "nodes", "hint"), [(1, [1, 2], "Use --samplers 2"), (3, [1, 2], "6 processors would do")]
)
def test_hosts_that_do_not_fit_are_refused_with_what_would(models: int, nodes: list[int], hint: str) -> None:
    with pytest.raises(BadInput, match=f"3 processors .* 2 nodes. {hint}"):
        share(models, 4, [Node(count) for count in nodes])
