"""vLLM beside another engine, as a server opens the two."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from vllm_double import Start

from anubhav.backends.fake.engine import FakeEngine
from anubhav.backends.vllm import environment as room
from anubhav.backends.vllm.engine import VllmEngine
from anubhav.backends.vllm.environment import Environment
from anubhav.backends.vllm.launch import make_home, socket_of
from anubhav.errors import Unavailable
from anubhav.types.ids import AdapterId
from anubhav.types.sampling import SampleRequest, SamplingParams
from anubhav.types.training import LoraSpec


@pytest.fixture
def model(start: Start, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    start().close()  # writes the model's folder
    monkeypatch.setenv("ANUBHAV_VLLM_HOME", str(environment.home))
    monkeypatch.setattr(room, "_kind", lambda: environment.kind)
    with tempfile.TemporaryDirectory(prefix="t-") as temporary:  # not tmp_path: a socket's path must be short
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        yield tmp_path / "model"
        assert list(Path(temporary).iterdir()) == []


async def test_one_trains_and_reads_and_the_other_samples(model: Path, tmp_path: Path) -> None:
    adapter = AdapterId("ad_1")
    with closing(VllmEngine(model, None, lambda: FakeEngine(model))) as engine:
        await engine.trainer.create(adapter, LoraSpec(rank=4))
        assert await engine.reader.read([((1, 2), (3,))])
        request = SampleRequest((1, 2), SamplingParams(4))
        assert len([event async for event in engine.sampler.sample(request)]) == 4
        assert [row["alive"] for row in await engine.look()][-1] is True


def test_it_is_closed_when_the_other_one_does_not_open(model: Path) -> None:
    def fail() -> FakeEngine:
        raise Unavailable("not today")

    with pytest.raises(Unavailable, match="not today"):
        VllmEngine(model, None, fail)


def test_a_folder_for_temporary_files_may_lie_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("a" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    home = make_home()
    try:
        assert len(str(socket_of(home))) < 104
        assert list(deep.iterdir()) == []
    finally:
        shutil.rmtree(home)
