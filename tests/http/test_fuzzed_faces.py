"""Every address that /openapi.json describes, asked at random: nothing is answered with a 5xx, or otherwise than told.

`--examples 200` looks longer than the usual few.
"""

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import hypothesis
import pytest
import requests
import schemathesis
from fake_model import write_model
from loopback import Loopback, hosted
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
LEFT_OUT = {
    "DELETE /api/v1/auth/apikey/me": "ends the key that asks",
    "POST /v1/judgements": "asks a server at an address it is given",
    "POST /v1/memories/refiller": "trains for minutes",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    folder = tmp_path_factory.mktemp("fuzzed")
    write_model(folder / "tiny")
    with hosted(folder) as loopback:
        yield loopback


@pytest.fixture(scope="module")
def schema(server: Loopback) -> Any:
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers={"x-api-key": server.key}, timeout=60)


@pytest.fixture(scope="module")
def known(server: Loopback) -> dict[str, Any]:
    """Names of what is there, under the words that bodies and addresses have for them."""
    with httpx2.Client(base_url=server.url, headers={"x-api-key": server.key}) as client:
        session = client.post("/api/v1/create_session", json={}).json()["session_id"]
        run = {"session_id": session, "model_seq_id": 0, "base_model": "tiny", "lora_config": {"rank": 2}}
        run_id = client.post("/api/v1/create_model", json=run).json()["model_id"]
        asked = {"model": "tiny", "max_tokens": 2, "messages": [{"role": "user", "content": "Hello"}]}
        episode = client.post("/v1/chat/completions", json={**asked, "session_id": "s", "memory": True}).json()["id"]
        sampler = {"session_id": session, "sampling_session_seq_id": 0, "base_model": "tiny"}
        sampling = client.post("/api/v1/create_sampling_session", json=sampler).json()["sampling_session_id"]
        saved = {"model_id": run_id, "seq_id": 1, "path": "kept"}
        client.post("/api/v1/save_weights", json=saved).raise_for_status()
        sent = {"file": ("a.jsonl", b'{"messages": [{"role": "user", "content": "a"}]}')}
        file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=sent).json()["id"]
        memory = client.get("/v1/memories").json()["data"][0]["id"]
    return {
        "model": "tiny", "base_model": "tiny", "alias": "tiny", "session_id": session, "session": session,
        "model_id": run_id, "run": run_id, "kind": "weights", "target": episode, "sampling_session_id": sampling,
        "sampler": sampling, "training_file": file, "file": file, "memory": memory, "tenant": "local",
        "previous_response_id": episode,
    }  # fmt: skip


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_address_answers_as_it_says(
    mode: GenerationMode, server: Loopback, schema: Any, known: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    examples = request.config.getoption("--examples")
    wrong: list[str] = []
    looked_at = 0
    with requests.Session() as session:
        session.headers["x-api-key"] = server.key
        for operation in (found.ok() for found in schema.get_all_operations()):
            if operation.label in LEFT_OUT:
                continue
            looked_at += 1
            try:
                _ask(operation, mode, examples, _asker(server, session, known))
            except hypothesis.errors.Unsatisfiable:
                continue  # nothing can be wrong with it
            except (AssertionError, BaseExceptionGroup) as problem:
                wrong.append("\n".join([operation.label, *traceback.format_exception(problem)[-1:]]))
    assert looked_at > 100
    assert not wrong, "\n\n".join(wrong)


def _ask(operation: Any, mode: GenerationMode, examples: int, ask: Callable[[Any], None]) -> None:
    settings = hypothesis.settings(
        max_examples=examples, derandomize=True, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )

    @settings
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def attempt(case: Any) -> None:
        ask(case)

    attempt()


def _asker(server: Loopback, session: requests.Session, known: dict[str, Any]) -> Callable[[Any], None]:
    def ask(case: Any) -> None:
        for part in (case.body, case.path_parameters):
            if isinstance(part, dict):
                part.update({name: known[name] for name in part if name in known and isinstance(part[name], str)})
        case.validate_response(case.call(base_url=server.url, session=session), checks=CHECKS)

    return ask
