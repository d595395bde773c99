"""`anubhav verify` over a loopback server: what holds is shown as holding, and what does not is found."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from anubhav.cli import main
from anubhav.cli.verify import checks
from anubhav.cli.verify.checks import CLAIMS, Claim

pytestmark = pytest.mark.tinker_sdk


def verify(server: Any, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["verify", server.url, "--key", server.key, *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_every_claim_holds_here(tinker_server: Any) -> None:
    code, output = verify(tinker_server)
    assert (code, f"{len(CLAIMS)} of {len(CLAIMS)} claims hold" in output) == (0, True), output


def test_a_server_that_is_wrong_or_refuses_fails(tinker_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Claim("wrong", 1e-3, lambda _service, _model: 0.5)
    refused = Claim("refused", 1e-3, checks.on_policy("no_such_loss"))
    # The command of the same name hides the module from an import path.
    monkeypatch.setattr(sys.modules["anubhav.cli.verify"], "CLAIMS", (wrong, refused))
    code, output = verify(tinker_server, "--format", "json")
    assert code == 1
    first, second = json.loads(output)
    assert (first["difference"], first["holds"]) == (0.5, False)
    assert (second["difference"], second["holds"]) == (None, False)
    assert "no_such_loss" in second["trouble"]


def test_a_model_that_is_not_served(tinker_server: Any) -> None:
    code, output = verify(tinker_server, "--model", "gpt-9")
    assert code == 1
    assert "tiny" in output


@pytest.mark.parametrize(("one", "other", "apart"), [([1.0], [1.0, 2.0], float("inf")), ([1.0, 2.0], [1.0, 2.5], 0.5)])
def test_the_difference_is_the_largest(one: list[float], other: list[float], apart: float) -> None:
    assert checks.apart(one, other) == apart


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Model has `tie_word_embeddings=True`")
def test_the_engine_computes_what_transformers_and_peft_do(llama_server: tuple[Any, Path]) -> None:
    server, folder = llama_server
    code, output = verify(server, "--base", str(folder))
    assert code == 0, output
    assert "3 steps of cispo are autograd's" in output
