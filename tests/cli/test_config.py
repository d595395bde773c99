import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result

from anubhav.cli import main
from anubhav.cli.configured import KEYS
from anubhav.errors import BadInput
from anubhav.settings import find_key

FILE = """
host = "127.0.0.2"
port = 9001
models = ["one", "two"]
samplers = 3
[aliases]
"Qwen/Qwen3-8B" = "one"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ANUBHAV_API_KEY", "ANUBHAV_DATA_DIR", "ANUBHAV_MODELS_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "anubhav.toml").write_text(FILE)
    return tmp_path


def shown(*options: str) -> dict[str, tuple[Any, str]]:
    result = CliRunner().invoke(main, ["config", "show", "--origin", "-f", "json", *options])
    assert result.exit_code == 0, result.output
    return {row["setting"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}


def test_flags_go_before_variables_and_those_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANUBHAV_PORT", "9002")
    monkeypatch.setenv("ANUBHAV_HOST", "127.0.0.3")
    found = shown("--data-dir", str(folder), "--host", "127.0.0.4")
    file = str(folder / "anubhav.toml")
    assert found["host"] == ("127.0.0.4", "--host")
    assert found["port"] == (9002, "ANUBHAV_PORT")
    assert found["samplers"] == (3, file)
    assert found["models"] == (["one", "two"], file)
    assert found["aliases"] == ([["Qwen/Qwen3-8B", "one"]], file)
    assert found["sampler"] == ("own", "default")
    assert found["api_key"] == ("(not shown)", str(folder / "api-key"))


def test_a_file_that_is_named_goes_before_the_one_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.toml").write_text(f"port = 9003\ndata_dir = {json.dumps(str(folder / 'there'))}\n")
    found = shown("--config", str(folder / "mine.toml"))
    assert found["port"] == (9003, str(folder / "mine.toml"))
    assert found["data_dir"][0] == str(folder / "there")
    assert found["host"] == ("127.0.0.1", "default")
    monkeypatch.setenv("ANUBHAV_CONFIG", str(folder / "mine.toml"))
    assert shown()["port"] == (9003, str(folder / "mine.toml"))


def test_a_store_is_shown_without_its_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANUBHAV_STORE", "postgresql://ann:secret@db:5433/house?sslmode=require")
    assert shown("--data-dir", str(folder))["store"] == ("postgresql://db:5433/house", "ANUBHAV_STORE")


def serve(folder: Path, text: str) -> Result:
    (folder / "anubhav.toml").write_text(text)
    return CliRunner().invoke(main, ["serve", "--data-dir", str(folder)])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prot = 1", "Did you mean 'port'?"),
        ("xyzzy = 1", "There are: data_dir"),
        ("api_key = 'tml-1234'", "there is no setting 'api_key'"),
        ("port = 'many'", "--port"),
        ("port = 99999", "--port"),
        ("sampler = 'other'", "--sampler"),
        ("port = ", "is not TOML"),
        ("data_dir = '/x'", "Use --config"),
    ],
)
def test_what_means_nothing_is_a_wrong_usage(folder: Path, text: str, says: str) -> None:
    result = serve(folder, text)
    assert result.exit_code == 2, result.output
    assert says in result.output
    assert "Traceback" not in result.output


def test_unknown_variables_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANUBHAV_PROT", "1")
    result = CliRunner().invoke(main, ["config", "show", "--data-dir", str(folder)])
    assert "ANUBHAV_PROT means nothing here. Did you mean 'ANUBHAV_PORT'?" in result.stderr
    assert "9001" in result.stdout


def test_a_key_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").write_text("tml-from-a-file\n")
    monkeypatch.setenv("ANUBHAV_API_KEY_FILE", str(folder / "secret"))
    assert find_key(folder) == "tml-from-a-file"
    result = CliRunner().invoke(main, ["config", "show", "--origin", "--data-dir", str(folder)])
    assert "ANUBHAV_API_KEY_FILE" in result.output
    assert "tml-from-a-file" not in result.output
    monkeypatch.setenv("ANUBHAV_API_KEY", "tml-first")
    assert find_key(folder) == "tml-first"
    monkeypatch.delenv("ANUBHAV_API_KEY")
    monkeypatch.setenv("ANUBHAV_API_KEY_FILE", str(folder / "none"))
    with pytest.raises(BadInput):
        find_key(folder)


@pytest.fixture(scope="module")
def schema() -> Any:
    result = CliRunner().invoke(main, ["config", "schema"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class TestSchema:
    def test_it_knows_every_key_and_says_what_it_is(self, schema: Any) -> None:
        jsonschema.Draft7Validator.check_schema(schema)
        assert set(schema["properties"]) == set(KEYS)
        assert all(one["description"] for one in schema["properties"].values())
        assert schema["properties"]["port"] == {
            "description": "The port that is listened on; 0 takes any free one.",
            "type": "integer", "minimum": 0, "maximum": 65535, "default": 8000,
        }  # fmt: skip

    @pytest.mark.parametrize(
        "text",
        [
            FILE,
            'aliases = ["a=b"]\nlog_format = "json"\nlog_level = "info"',
            'trackers = ["wandb", "mlflow"]\ndtype = "bfloat16"\nsampler = "vllm"\ncluster = "local"\nsamplers = 2',
            "",
        ],
    )
    def test_what_serve_takes_is_valid(self, schema: Any, text: str, folder: Path) -> None:
        jsonschema.validate(tomllib.loads(text), schema)
        (folder / "anubhav.toml").write_text(text)
        assert shown("--data-dir", str(folder))

    @pytest.mark.parametrize(
        "text",
        ["prot = 1", 'port = "x"', "port = 70000", 'models = "one"', 'sampler = "other"', 'trackers = ["x"]',
         'aliases = ["a"]', 'api_key = "tml-x"'],
    )  # fmt: skip
    def test_what_it_refuses_is_not(self, schema: Any, text: str) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(tomllib.loads(text), schema)
