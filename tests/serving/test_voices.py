from contextlib import aclosing
from typing import Any

import pytest

from anubhav.errors import BadInput, NotFound
from anubhav.serving.voices import Voice
from anubhav.store import releases
from anubhav.types.checkpoints import Checkpoint
from anubhav.types.experience import Release
from anubhav.types.ids import AdapterId, new_id
from anubhav.types.sampling import SampleRequest


async def promote(stage: Any, checkpoint: Checkpoint | None, alias: str = "default") -> None:
    path, adapter = (str(checkpoint.path), checkpoint.adapter) if checkpoint else (None, None)
    release = Release(new_id("rel"), alias, path, adapter, "promote", "ada", "test", 0.0)
    await stage.database.run(lambda c: releases.add(c, release))


async def say(stage: Any, voice: Voice, request: SampleRequest) -> str:
    async with aclosing(stage.voices.sample(voice, request)) as stream:
        return stage.renderer.decode([token async for event in stream for token in event.tokens])


async def test_what_a_name_means(stage: Any) -> None:
    taught = await stage.teach("Who?", "Me.")
    path = str(taught.path)
    for name in ("tiny", "default", "default@stable"):
        assert await stage.voices.resolve("ada", name) == Voice(name.removesuffix("@stable"), "tiny")
    for name in (path, f"tiny;{path}"):
        found = await stage.voices.resolve("ada", name)
        assert (found.name, found.base_model, found.adapter, found.path) == (name, "tiny", taught.adapter, path)
        assert await say(stage, found, stage.request("Who?", found.adapter)) == "Me."
    for name in ("gpt", "default@canary", "support", "../x@stable"):
        with pytest.raises(NotFound, match="tiny, default"):
            await stage.voices.resolve("ada", name)
    with pytest.raises(BadInput, match="belongs to tiny"):
        await stage.voices.resolve("ada", f"other;{path}")
    with pytest.raises(NotFound):
        await stage.voices.resolve("eve", path)


async def test_a_release_is_heard_from_the_next_reply_on_and_by_everybody(stage: Any) -> None:
    taught = await stage.teach("Who?", "Me.")
    before = await stage.voices.resolve("eve", "default")
    plain = await say(stage, before, stage.request("Who?"))
    running = stage.voices.sample(before, stage.request("Who?"))
    first = await anext(running)
    await promote(stage, taught)
    after = await stage.voices.resolve("eve", "default")
    assert await say(stage, after, stage.request("Who?", after.adapter)) == "Me."
    rest = [token async for event in running for token in event.tokens]
    assert stage.renderer.decode([*first.tokens, *rest]) == plain != "Me."
    await promote(stage, None)
    assert await stage.voices.resolve("eve", "default") == before
    await promote(stage, taught, "support")
    assert await stage.voices.names() == ["tiny", "default", "support"]


async def test_idle_adapters_are_let_go_and_those_in_use_are_not(stage: Any) -> None:
    folder = await stage.desk.checkpoints.folder(await stage.teach("Who?", "Me."))

    def voice(number: int) -> Voice:
        return Voice("x", "tiny", AdapterId(f"ad_{number}"), "x", folder)

    async def attached(number: int) -> bool:
        try:
            async with aclosing(stage.sampler.sample(stage.request("Who?", AdapterId(f"ad_{number}")))) as stream:
                await anext(stream)
        except NotFound:
            return False
        return True

    in_use = stage.voices.sample(voice(0), stage.request("Who?", AdapterId("ad_0")))
    await anext(in_use)
    for number in range(1, 40):
        assert await say(stage, voice(number), stage.request("Who?", AdapterId(f"ad_{number}"))) == "Me."
    assert [number for number in range(40) if await attached(number)] == [0, *range(9, 40)]
    await in_use.aclose()
    assert await say(stage, voice(1), stage.request("Who?", AdapterId("ad_1"))) == "Me."
    assert not await attached(0)


async def test_closing_a_stream_frees_its_slots(stage: Any) -> None:
    stream = stage.voices.sample(await stage.voices.resolve("ada", "tiny"), stage.request("Who?", n=3))
    await anext(stream)
    assert stage.sampler.running == 3
    await stream.aclose()
    assert stage.sampler.running == 0
