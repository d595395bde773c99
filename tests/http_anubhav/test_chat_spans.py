"""Spans of chats, as a collector on loopback reads them with OpenTelemetry's own messages."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from anubhav.telemetry.traces import exporting, is_exporting

SECRET = "Zq7-planted-secret"


class Collector(BaseHTTPRequestHandler):
    got: list[tuple[str, bytes]] = []  # noqa: RUF012 - of the one server of a test

    def do_POST(self) -> None:
        self.got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, bytes]]]:
    Collector.got.clear()
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    yield Collector.got
    server.shutdown()
    thread.join()
    server.server_close()


def spans(got: list[tuple[str, bytes]]) -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """(span, its attributes, those of whoever made it)"""
    found: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []
    for path, body in got:
        assert path == "/v1/traces"
        for one in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = plain(one.resource.attributes)
            found += [(span, plain(span.attributes), about) for scope in one.scope_spans for span in scope.spans]
    return found


def plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in attributes}


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": text}], "max_tokens": 3, **more}


async def test_a_chat_is_a_span_by_the_genai_names(front: Any, collector: list[tuple[str, bytes]]) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "x-session-id": SECRET}
    with exporting():
        asked = question(SECRET, user=SECRET, temperature=0.5)
        reply = await front.user.post("/v1/chat/completions", json=asked, headers=headers)
        async with front.user.stream("POST", "/v1/chat/completions", json=question("hi", stream=True)) as stream:
            async for _ in stream.aiter_bytes():
                pass
    assert not is_exporting()
    (span, found, about), (other, _, _) = spans(collector)
    usage = reply.json()["usage"]
    assert span.name == "chat default"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, "b7ad6b7169203331")
    assert other.trace_id.hex() != trace
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    assert found["gen_ai.operation.name"] == "chat"
    assert found["gen_ai.request.model"] == "default"
    assert found["gen_ai.response.model"] == "tiny"
    assert found["gen_ai.response.id"] == reply.json()["id"]
    assert found["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert found["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert (found["gen_ai.request.max_tokens"], found["gen_ai.request.temperature"]) == (3, 0.5)
    assert found["anubhav.tenant"] == "ann"
    assert found["anubhav.request"] == reply.headers["x-request-id"]
    assert about["service.name"] == "anubhav"
    assert not any(SECRET.encode() in body for _, body in collector)


async def test_a_chat_that_fails_says_only_of_what_kind(
    front: Any, collector: list[tuple[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(front.house.recorder, "record", fail)
    with exporting():
        assert (await front.user.post("/v1/chat/completions", json=question("hi"))).status_code == 500
    ((span, found, _),) = spans(collector)
    assert span.status.code == 2
    assert found["error.type"] == "RuntimeError"
    assert not any(SECRET.encode() in body for _, body in collector)


async def test_without_a_collector_there_are_none(front: Any, collector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    with exporting():
        assert not is_exporting()
        assert (await front.user.post("/v1/chat/completions", json=question("hi"))).status_code == 200
    assert collector == []
