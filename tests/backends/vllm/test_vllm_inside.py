"""What vLLM is taught, without vLLM: each row its own adapter, log-probabilities at the request's temperature."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anubhav.backends.vllm import inside

ADAPTERS, ROWS, INPUTS, RANK, OUTPUTS = 3, 6, 5, 2, 7
SOME = torch.tensor([-1, 2, 0, -1, 2, 1])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(
    "adapters_T", [SOME, torch.full((ROWS,), 2), torch.full((ROWS,), -1)], ids=["mixed", "one", "none"]
)
def test_rows_meet_their_own_adapter_and_those_without_one_meet_none(adapters_T: torch.Tensor) -> None:
    x_TI, a_A1LI, b_A1OL = (
        torch.randn(ROWS, INPUTS),
        torch.randn(ADAPTERS, 1, RANK, INPUTS),
        torch.randn(ADAPTERS, 1, OUTPUTS, RANK),
    )
    shrunk_TL, out_TO = torch.randn(ROWS, RANK + 1), torch.randn(ROWS, OUTPUTS)
    before_TO = out_TO.clone()
    inside._shrink(x_TI, a_A1LI, shrunk_TL, adapters_T, 0.5)
    inside._expand(shrunk_TL[:, :RANK], b_A1OL, out_TO, adapters_T)
    for row, place in enumerate(adapters_T.tolist()):
        added = 0.5 * b_A1OL[place, 0] @ a_A1LI[place, 0] @ x_TI[row] if place >= 0 else torch.zeros(OUTPUTS)
        torch.testing.assert_close(out_TO[row], before_TO[row] + added)


def test_a_slice_of_the_output_is_added_to_or_written_anew() -> None:
    y_TL, b_AOL, out_TO = torch.randn(ROWS, RANK), torch.randn(ADAPTERS, 4, RANK), torch.ones(ROWS, OUTPUTS)
    inside._expand_slice(y_TL, b_AOL, out_TO, SOME, 2, 4)
    torch.testing.assert_close(out_TO[1, 2:6], 1 + b_AOL[2] @ y_TL[1])
    assert (out_TO[:, :2] == 1).all()
    assert (out_TO[:, 6:] == 1).all()
    assert (out_TO[0] == 1).all()
    inside._expand_slice(y_TL, b_AOL, out_TO, SOME, 2, 4, add_inputs=False)
    torch.testing.assert_close(out_TO[1, 2:6], b_AOL[2] @ y_TL[1])
    assert (out_TO[0, 2:6] == 0).all()


def test_rows_that_nobody_named_an_adapter_for_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="1 adapters were named for 6 rows"):
        inside._expand(
            torch.zeros(ROWS, RANK), torch.zeros(ADAPTERS, OUTPUTS, RANK), torch.zeros(ROWS, OUTPUTS), SOME[:1]
        )


class Sampler:
    """As vLLM's begins: the log-probabilities of the logits as they come."""

    def forward(self, logits: torch.Tensor, sampling_metadata: Any) -> torch.Tensor:
        return self.compute_logprobs(logits)

    @staticmethod
    def compute_logprobs(logits: torch.Tensor) -> torch.Tensor:
        return logits.log_softmax(-1)


def test_log_probabilities_are_at_each_rows_temperature_and_greedy_ones_at_one() -> None:
    logits_RV, sampler = torch.randn(3, 11), Sampler()
    heated = inside._heated(Sampler.forward)
    found_RV = heated(
        sampler, logits=logits_RV, sampling_metadata=SimpleNamespace(temperature=torch.tensor([0.5, 0.0, 1.7]))
    )
    for row, heat in enumerate((0.5, 1.0, 1.7)):
        torch.testing.assert_close(found_RV[row], (logits_RV[row] / heat).log_softmax(-1))
    plain_RV = heated(sampler, logits_RV, SimpleNamespace(temperature=None))
    torch.testing.assert_close(plain_RV, logits_RV.log_softmax(-1))
    torch.testing.assert_close(sampler.compute_logprobs(logits_RV), logits_RV.log_softmax(-1))


def test_columns_are_what_follows_the_likeliest_and_what_was_asked_for() -> None:
    scores_RV = torch.tensor([[0.0, 3.0, 2.0, 1.0], [4.0, 0.0, 1.0, 2.0]])
    extra = {inside.TOP: 2, inside.TARGETS: [[4, [0]], [5, [1]]]}
    state = SimpleNamespace(
        prompt_token_ids=[9, 9, 9, 9, 9, 3, 2, 1], sampling_params=SimpleNamespace(extra_args=extra)
    )
    assert inside._columns(state, scores_RV, 4, 5).tolist() == [[3, 1, 2, 0, 3], [2, 0, 3, 1, 2]]
    state.sampling_params.extra_args = None
    assert inside._columns(state, scores_RV, 4, 3).tolist() == [[3, 1, 2], [2, 0, 3]]
