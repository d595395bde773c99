"""The `llm` command, with us as an extra OpenAI model."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import KEY, MODEL, SCHEMA, V1, case, run

home = Path(tempfile.mkdtemp())
(home / "extra-openai-models.yaml").write_text(
    f"- model_id: ours\n  model_name: {MODEL}\n  api_base: {V1}\n  supports_schema: true\n  supports_tools: true\n"
    "  api_key_name: ours\n"
)
(home / "keys.json").write_text(json.dumps({"ours": KEY}))


def llm(*words: str) -> str:
    command = [sys.executable, "-m", "llm", "-m", "ours", "-o", "max_tokens", "40", *words]
    done = subprocess.run(
        command, env={**os.environ, "LLM_USER_PATH": str(home)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-400:]
    return done.stdout


@case("chat")
def chat() -> None:
    assert llm("--no-stream", "Name a city.").strip()


@case("streaming")
def streaming() -> None:
    assert llm("Name a city.").strip()


@case("JSON schema")
def schema() -> None:
    assert json.loads(llm("--schema", json.dumps(SCHEMA), "Name a city."))["city"] in ("Paris", "Rome")


@case("tools")
def tools() -> None:
    assert llm("-T", "llm_version", "Which version?").strip()


run()
