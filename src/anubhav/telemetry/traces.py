"""Spans for a collector, by the names of OpenTelemetry's GenAI conventions (2026, Development).

They are made only where OTEL_EXPORTER_OTLP_ENDPOINT (or its form for traces) names one; the SDK comes with the extra
`otel`. What people and models said is never in them.
"""

import os
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.context import attach, detach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from anubhav import __version__
from anubhav.errors import MissingPart
from anubhav.telemetry.notes import noted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Value = str | int | float | list[str]
_SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_tracer: Tracer | None = None
_w3c = TraceContextTextMapPropagator()


@contextmanager
def exporting() -> Generator[None]:
    """Export what is traced inside, if the environment names a collector. Raises MissingPart without the SDK."""
    global _tracer
    if not any(os.environ.get(name) for name in _SWITCHES):
        yield
        return
    provider = _provider()
    _tracer = provider.get_tracer("anubhav", __version__)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def _provider() -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as missing:
        raise MissingPart(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and what makes them is not installed",
            hint="pip install 'anubhav[otel]', or unset it.",
        ) from missing
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "anubhav"}
    provider = TracerProvider(resource=Resource.create({**name, "service.version": __version__}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def is_exporting() -> bool:
    return _tracer is not None


@contextmanager
def joined(headers: Iterable[tuple[bytes, bytes]]) -> Generator[None]:
    """What is traced inside belongs to the trace that the caller's `traceparent` names."""
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name.startswith(b"trace")}
    if _tracer is None or not carrier:
        yield
        return
    token = attach(_w3c.extract(carrier))
    try:
        yield
    finally:
        detach(token)


class ChatSpan:
    """One chat, from `begun` (nanoseconds) until `end`."""

    def __init__(self, model: str, begun: int) -> None:
        assert _tracer is not None
        about = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anubhav", "gen_ai.request.model": model}
        mine = {f"anubhav.{name}": noted()[name] for name in ("request", "tenant") if name in noted()}
        self._span: Span = _tracer.start_span(
            f"chat {model}", kind=SpanKind.SERVER, attributes={**about, **mine}, start_time=begun
        )

    def tell(self, **facts: Value | None) -> None:
        """`input_tokens` is `gen_ai.usage.input_tokens`, and so on, as `_NAMES` has them."""
        for name, fact in facts.items():
            if fact is not None:
                self._span.set_attribute(_NAMES[name], fact)

    def fail(self, problem: BaseException) -> None:
        """Its kind alone: its words may quote the prompt."""
        self._span.set_attribute("error.type", type(problem).__name__)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


_NAMES = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "choices": "gen_ai.request.choice.count",
    "response": "gen_ai.response.id",
    "base_model": "gen_ai.response.model",
    "conversation": "gen_ai.conversation.id",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "finish_reasons": "gen_ai.response.finish_reasons",
    "adapter": "anubhav.adapter",
    "seconds_to_first_token": "anubhav.seconds_to_first_token",
}
