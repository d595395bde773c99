"""/openapi.json tells what is true: who may read it, what is open to all, which bodies and refusals there are."""

from collections.abc import Iterator
from typing import Any

import pytest

from anubhav.http.auth import is_public


@pytest.fixture
async def described(front: Any) -> dict[str, Any]:
    return (await front.user.get("/openapi.json")).json()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, found in described["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


async def test_it_takes_a_key_to_read_it(front: Any, described: dict[str, Any]) -> None:
    assert (await front.nobody.get("/openapi.json")).status_code == 401
    assert described["info"]["title"] == "Anubhav"
    assert set(described["components"]["securitySchemes"]) == {"key", "bearer", "cookie"}


async def test_what_needs_no_key_is_what_the_door_lets_through(front: Any, described: dict[str, Any]) -> None:
    assert described["security"]
    for method, path, operation in operations(described):
        plain = path.replace("{", "").replace("}", "")
        assert (operation.get("security") == []) == is_public(method, plain), path
        answer = await front.nobody.request(method, plain)
        refused = answer.status_code == 401 and answer.headers["content-type"] == "application/json"
        assert refused == ("security" not in operation), (method, path)


async def test_every_address_tells_how_it_refuses(described: dict[str, Any]) -> None:
    for method, path, operation in operations(described):
        refusal = operation["responses"]["4XX"]["content"]
        page = "text/html" in operation["responses"].get("200", {}).get("content", {})
        told = refusal["text/html" if page else "application/json"]["schema"]
        assert told == ({"type": "string"} if page else {"$ref": "#/components/schemas/Refusal"}), (method, path)
        assert "422" not in operation["responses"]


@pytest.mark.parametrize(
    ("path", "name", "stream"),
    [
        ("/v1/chat/completions", "Chat", "text/event-stream"),
        ("/v1/completions", "Completion", "text/event-stream"),
        ("/v1/responses", "Create", "text/event-stream"),
        ("/v1/messages", "Messages", "text/event-stream"),
        ("/api/chat", "Chat", "application/x-ndjson"),
    ],
)
async def test_chats_are_described_with_their_bodies_and_streams(
    described: dict[str, Any], path: str, name: str, stream: str
) -> None:
    operation = described["paths"][path]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert body.rpartition("/")[2].rpartition("__")[2] == name
    assert set(operation["responses"]["200"]["content"]) == {"application/json", stream}
    assert f"/oai/api{path}" not in described["paths"]


async def test_raw_bodies_are_told_as_such(described: dict[str, Any]) -> None:
    body = described["paths"]["/api/v1/forward_backward"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/x-protobuf", "application/json"}
