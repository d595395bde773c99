"""What models compute in goes from the command line to the engine."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tiny_llama import write_llama

from anubhav import app
from anubhav.backends.opening import open_engine
from anubhav.backends.torch import precision
from anubhav.backends.torch.engine import TorchEngine
from anubhav.cli.serve import serve
from anubhav.settings import Settings


@pytest.mark.parametrize(
    ("typed", "wanted"), [([], None), (["--dtype", "float32"], "float32"), (["--dtype", "bfloat16"], "bfloat16")]
)
def test_serve_hands_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: list[str], wanted: str) -> None:
    started: list[Settings] = []
    monkeypatch.setattr(app, "serve", lambda settings, **_: started.append(settings))
    done = CliRunner().invoke(serve, ["--data-dir", str(tmp_path), *typed])
    assert done.exit_code == 0, done.output
    assert [one.dtype for one in started] == [wanted]


def test_another_type_is_refused() -> None:
    done = CliRunner().invoke(serve, ["--dtype", "float16"])
    assert done.exit_code == 2
    assert "bfloat16" in done.output


def test_an_engine_is_started_with_it(tmp_path: Path) -> None:
    write_llama(tmp_path, vocab=64, context=32)
    rough = torch.bfloat16 if precision.has_bfloat16() else torch.float32
    for asked, wanted in ((None, torch.float32), ("bfloat16", rough)):
        engine = open_engine(tmp_path, asked)
        assert isinstance(engine, TorchEngine)
        assert engine.model.dtype == wanted
        engine.close()
