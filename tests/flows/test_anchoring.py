"""What the incumbent says to general prompts, drawn for the batches of a lap."""

from pathlib import Path

import pytest
from fake_model import write_model

from anubhav.app import build
from anubhav.flows.anchoring import Anchors
from anubhav.learning.presets import Preset, Recipe
from anubhav.settings import Settings
from anubhav.types.models import Model


@pytest.mark.parametrize("held", [1, 3, 20])
async def test_no_anchor_is_used_twice_however_many_a_batch_has(tmp_path: Path, held: int) -> None:
    write_model(tmp_path / "tiny")
    model = Model("tiny", tmp_path / "tiny", "Apache-2.0", "folder", 512, 258)
    settings = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    preset = Preset(imitation=Recipe(steps=5, learning_rate=0.1), anchor_tokens=4, held=held)
    async with build(settings, {"tiny": model}) as (house, _):
        anchors = Anchors(house, await house.voices.resolve("anubhav", "default@stable"), preset)
        drawn = [one for batch in range(12) for one in await anchors.beside(batch)]
        drawn += [one for step in range(preset.imitation.steps) for one in await anchors.of(step)]
    assert len(drawn) == 12 * held + preset.imitation.steps * preset.anchors
    assert len({(one.prompt, one.said, one.logprobs) for one in drawn}) > 0.9 * len(drawn)
