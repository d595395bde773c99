"""What Prometheus reads: a few named instruments, and what rooms tell them.

Labels are bounded: route templates, statuses, base models and words of our own; never a path as it was asked for, a
tenant or a text. Where dashboards for other servers know a name (`vllm:…`, `http_…`), that is the name here
(docs/operations.md). Telling costs microseconds and touches no store; what can be looked up is looked up at a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from time import perf_counter
from typing import Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client import Gauge as Level
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REGISTRY = CollectorRegistry()
disable_created_metrics()  # one more series for each, which nobody reads
T = TypeVar("T", Counter, Histogram, Level)
ProcessCollector(registry=_REGISTRY)
PlatformCollector(registry=_REGISTRY)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=_REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=_REGISTRY)


_REQUESTS = _counter("http_requests", "Requests answered.", "handler", "method", "status")
_DURATION = _histogram(
    "http_request_duration_seconds", "From a request to its last byte.", _SECONDS, "handler", "method"
)
_RUNNING = Level("vllm:num_requests_running", "Samples that grow.", ["model_name"], registry=_REGISTRY)
_WAITING = Level("vllm:num_requests_waiting", "Asked for, without a first token.", ["model_name"], registry=_REGISTRY)
_READ = _counter("vllm:prompt_tokens", "Prompt tokens read.", "model_name")
_FIRST = _histogram("vllm:time_to_first_token_seconds", "From asking to the first token.", _SECONDS, "model_name")
_WHOLE = _histogram("vllm:e2e_request_latency_seconds", "From asking to the last token.", _SECONDS, "model_name")
_ENDED = _counter("vllm:request_success", "Samples that came to their end.", "model_name", "finished_reason")
_CLOSED = _counter("anubhav_samples_closed", "Let go before the model ended them.", "model_name")
_OPERATIONS = _counter(
    "anubhav_training_operations", "Operations that have an outcome.", "model_name", "kind", "outcome"
)
_WORK = _histogram("anubhav_training_operation_seconds", "At the trainer.", _SECONDS, "kind")
_TRAINED = _counter("anubhav_training_tokens", "Tokens of passes that were trained on or scored.", "model_name")
_LAPS = _counter("anubhav_laps", "Laps that ended, by verdict or by why there is none.", "outcome")
_RELEASES = _counter("anubhav_releases", "Changes of what aliases answer with.", "action")
_EPISODES = _counter("anubhav_episodes", "Conversations recorded.", "arm")
_FEEDBACK = _counter("anubhav_feedback", "Judgements accepted.", "kind")


@cache
def _at(instrument: T, *labels: str) -> T:
    """Its child of these labels, which the library looks up ten times as slowly."""
    return instrument.labels(*labels)


class _Growth:
    """Of one model, told for each token and by one thread: the library's own would take three locks for it."""

    __slots__ = ("made", "seconds", "steps")

    def __init__(self) -> None:
        self.made = 0
        self.steps = [0] * (len(_STEPS) + 1)
        """Of a token, by how long it took."""
        self.seconds = 0.0

    def step(self, seconds: float) -> None:
        self.steps[bisect_left(_STEPS, seconds)] += 1
        self.seconds += seconds


class _Growing:
    def __init__(self) -> None:
        self._models: dict[str, _Growth] = {}

    def of(self, model: str) -> _Growth:
        return self._models.setdefault(model, _Growth())

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        made = CounterMetricFamily("vllm:generation_tokens", "Tokens sampled.", labels=["model_name"])
        told = "From one token of a sample to the next."
        steps = HistogramMetricFamily("vllm:inter_token_latency_seconds", told, labels=["model_name"])
        bounds = [*map(str, map(float, _STEPS)), "+Inf"]
        for model, growth in self._models.items():
            made.add_metric([model], growth.made)
            steps.add_metric([model], [*zip(bounds, accumulate(growth.steps), strict=True)], growth.seconds)
        yield made
        yield steps


_GROWING = _Growing()
_REGISTRY.register(_GROWING)  # pyright: ignore[reportArgumentType] - all it asks of a collector is `collect`


@dataclass(frozen=True, slots=True)
class Gauge:
    """What was looked up for one scrape."""

    name: str
    text: str
    label: str
    values: Mapping[str, float] = field(default_factory=dict[str, float])
    """By the label's value."""


def expose(gauges: Iterable[Gauge]) -> bytes:
    """Everything, in Prometheus' text format."""
    moment = CollectorRegistry()
    moment.register(_Moment(gauges))  # pyright: ignore[reportArgumentType] - all it asks of a collector is `collect`
    return generate_latest(_REGISTRY) + generate_latest(moment)


class _Moment:
    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=[gauge.label])
            for value, number in gauge.values.items():
                family.add_metric([value], number)
            yield family


def count_request(handler: str, method: str, status: int, seconds: float) -> None:
    """`handler`: the template of the route that answered."""
    method = method if method in _METHODS else "OTHER"
    _at(_REQUESTS, handler, method, str(status)).inc()
    _at(_DURATION, handler, method).observe(seconds)


def count_operation(model: str, kind: str, *, failed: bool, seconds: float) -> None:
    _at(_OPERATIONS, model, kind, "failed" if failed else "done").inc()
    _at(_WORK, kind).observe(seconds)


def count_trained(model: str, tokens: int) -> None:
    _at(_TRAINED, model).inc(tokens)


def count_lap(outcome: str) -> None:
    _at(_LAPS, outcome).inc()


def count_release(action: str) -> None:
    _at(_RELEASES, action).inc()


def count_episode(arm: str) -> None:
    _at(_EPISODES, arm).inc()


def count_feedback(kind: str) -> None:
    _at(_FEEDBACK, kind).inc()


class Sampling:
    """One request for samples, from when it is asked until it ends or is let go; use it as a context."""

    def __init__(self, model: str, samples: int) -> None:
        self._model, self._samples = model, samples
        self._begun = self._ended = 0
        self._last: dict[int, float] = {}
        self._growth = _GROWING.of(model)

    def __enter__(self) -> "Sampling":
        self._asked = perf_counter()
        _at(_WAITING, self._model).inc(self._samples)
        return self

    def hear(self, sample: int, tokens: int, reason: Literal["stop", "length"] | None, read: int = 0) -> None:
        """Some more tokens of one sample; several that come at once share the time since those before.

        `read`: of the prompt.
        """
        now = perf_counter()
        last = self._last.get(sample)
        self._last[sample] = now
        self._growth.made += tokens
        if read:
            _at(_READ, self._model).inc(read)
        if last is None:
            self._begin(now)
        elif tokens:
            self._growth.step((now - last) / tokens)
        if reason:
            self._end(now, reason)

    def _begin(self, now: float) -> None:
        self._begun += 1
        _at(_WAITING, self._model).dec()
        _at(_RUNNING, self._model).inc()
        _at(_FIRST, self._model).observe(now - self._asked)

    def _end(self, now: float, reason: str) -> None:
        self._ended += 1
        _at(_RUNNING, self._model).dec()
        _at(_ENDED, self._model, reason).inc()
        _at(_WHOLE, self._model).observe(now - self._asked)

    def __exit__(self, *_: object) -> None:
        if self._ended < self._samples:
            _at(_WAITING, self._model).dec(self._samples - self._begun)
            _at(_RUNNING, self._model).dec(self._begun - self._ended)
            _at(_CLOSED, self._model).inc(self._samples - self._ended)
