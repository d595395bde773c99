import pytest

from anubhav.learning.presets import PRESET, lora_rate, preset_for


def test_the_measured_recipe_stays_as_it_was_measured() -> None:
    found = preset_for(134_515_008, 576, "LlamaForCausalLM")
    assert found == PRESET
    assert (found.imitation.steps, found.imitation.learning_rate, found.imitation.decay) == (30, 1.2e-3, True)
    assert (found.policy.steps, found.policy.learning_rate, found.policy_parts) == (12, 2e-4, 4)
    assert (found.preference.steps, found.preference.learning_rate, found.beta) == (4, 1e-4, 0.1)


def test_the_rule_meets_what_was_measured() -> None:
    assert lora_rate(576, "LlamaForCausalLM") == pytest.approx(1.2e-3, rel=0.12)
    assert lora_rate(2000, "anything") == pytest.approx(5e-4)


def test_wider_models_learn_slower_and_larger_ones_shorter() -> None:
    small, middle, large = (
        preset_for(parameters, hidden, "LlamaForCausalLM")
        for parameters, hidden in ((360_000_000, 960), (1_700_000_000, 2048), (8_000_000_000, 4096))
    )
    rates = [one.imitation.learning_rate for one in (PRESET, small, middle, large)]
    assert rates == sorted(rates, reverse=True)
    assert [one.imitation.steps for one in (small, middle, large)] == [30, 20, 12]
    assert (small.kl_penalty, large.kl_penalty, large.spec.rank) == (0.0, 0.02, 32)
    # Every part by the same rule.
    assert middle.policy.learning_rate / PRESET.policy.learning_rate == pytest.approx(
        middle.imitation.learning_rate / PRESET.imitation.learning_rate
    )


def test_qwen_hardly_depends_on_the_width() -> None:
    narrow, wide = (preset_for(600_000_000, hidden, "Qwen3ForCausalLM") for hidden in (1024, 4096))
    assert wide.imitation.learning_rate / narrow.imitation.learning_rate == pytest.approx(4**-0.0775)
