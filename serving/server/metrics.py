"""Counters and latencies under TensorFlow Serving's own names, on prometheus_client."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import prometheus_client
from prometheus_client.core import CollectorRegistry

from serving.protocol.errors import RequestError

# TensorFlow Serving's buckets, for microseconds and for numbers of examples.
_LATENCIES = [10 * 1.8**exponent for exponent in range(33)]
_LOAD_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300]
_COUNTS = [2.0**exponent for exponent in range(15)]
#: The type of `Metrics.render`.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = ":tensorflow:serving:"
# Clients can name any model, and each name is kept as a label.
_MAX_NAMES, _MAX_NAME_LENGTH, _OTHERS = 1000, 200, "(others)"


class Rendered(Protocol):
    """What is shown as the metrics page."""

    def render(self) -> str:
        """Returns Prometheus' text format."""


class Metrics:
    """What a server counts. Each server has a registry of its own, so that several in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._models: set[str] = set()
        self._gauges: dict[str, prometheus_client.Gauge] = {}
        # prometheus_client removes `_total` from names. One name of TensorFlow Serving ends so.
        self._names: dict[str, str] = {}

        self.requests = self._counter("request_count", "The total number of requests.", ["model_name", "status"])
        self.latency = self._histogram(
            "request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ["model_name", "API", "entrypoint"],
        )
        self.runtime = self._histogram(
            "runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            ["model_name", "API", "runtime"],
        )
        self.warmup = self._histogram(
            "model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            ["model_path", "status"],
        )
        self._examples = self._histogram(
            "request_example_counts", "The number of tensorflow.Examples per request.", ["model"], _COUNTS
        )
        self._all_examples = self._counter(
            "request_example_count_total", "The total number of tensorflow.Examples.", ["model"]
        )

        self.batches = self._counter(
            "batching_session:wrapped_run_count", "Total count of run calls on the wrapped session", []
        )

        # From here on names that TensorFlow Serving lacks.
        self.batch_rows = prometheus_client.Histogram(
            "serving_batch_rows", "Rows of a batch, before padding.", registry=self.registry, buckets=_COUNTS
        )
        self.load_seconds = prometheus_client.Histogram(
            "serving_load_seconds",
            "Time to load and warm up a version.",
            ["model_name"],
            registry=self.registry,
            buckets=_LOAD_SECONDS,
        )
        self.request_log = prometheus_client.Counter(
            "serving_request_log_records",
            "Requests for the request log, by outcome: written or dropped.",
            ["model_name", "outcome"],
            registry=self.registry,
        )
        # Memory and file descriptors of the process.
        prometheus_client.ProcessCollector(registry=self.registry)
        for name in ("process_cpu_seconds", "serving_request_log_records"):
            self._names[name] = f"{name}_total"

    def watch(self, name: str, text: str, read: Callable[[], float], **labels: str) -> None:
        """Shows on the metrics page what `read` returns at that time."""
        if name not in self._gauges:
            self._gauges[name] = prometheus_client.Gauge(name, text, list(labels), registry=self.registry)
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set_function(read)

    def count_examples(self, model_name: str, count: int) -> None:
        """Counts the tf.Examples of one request."""
        self._examples.labels(model_name).observe(count)
        self._all_examples.labels(model_name).inc(count)

    @contextmanager
    def counted(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request by its outcome, and its latency where it succeeded."""
        start, model_name = time.perf_counter(), self._label(model_name)
        try:
            yield
        except RequestError as error:
            self.requests.labels(model_name, error.code.name).inc()
            raise
        self.latency.labels(model_name, api, entrypoint).observe((time.perf_counter() - start) * 1e6)
        self.requests.labels(model_name, "OK").inc()

    def _counter(self, name: str, text: str, labels: list[str]) -> prometheus_client.Counter:
        self._names[(_PREFIX + name).removesuffix("_total")] = _PREFIX + name
        return prometheus_client.Counter(_PREFIX + name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: list[str], limits: Sequence[float] = _LATENCIES
    ) -> prometheus_client.Histogram:
        # TensorFlow Serving counts a value at a limit in the bucket above it, prometheus_client in the one below.
        below = [math.nextafter(limit, 0) for limit in limits]
        return prometheus_client.Histogram(_PREFIX + name, text, labels, registry=self.registry, buckets=below)

    def _label(self, model_name: str) -> str:
        name = model_name[:_MAX_NAME_LENGTH]
        if name not in self._models:
            if len(self._models) >= _MAX_NAMES:
                return _OTHERS
            self._models.add(name)
        return name

    def value(self, name: str) -> float:
        """Returns a counter's sum over its labels; `name` as in `/tensorflow/serving/request_count`."""
        wanted = name.replace("/", ":").removesuffix("_total")
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if metric.name == wanted and sample.name.endswith("_total")
        )

    def render(self) -> str:
        """Returns Prometheus' text format as TensorFlow Serving writes it, without what prometheus_client adds."""
        lines = []
        for metric in sorted(self.registry.collect(), key=lambda metric: metric.name):
            own_name = self._names.get(metric.name, metric.name)
            lines.append(f"# TYPE {own_name} {metric.type}")
            for sample in metric.samples:
                if sample.name.endswith("_created"):
                    continue
                name = own_name if sample.name == f"{metric.name}_total" else sample.name
                labels = ",".join(f'{key}="{_label(key, value)}"' for key, value in sample.labels.items())
                lines.append(f"{name}{{{labels}}} {_number(sample.value)}")
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _label(key: str, value: str) -> str:
    if key == "le":
        return value if value == "+Inf" else f"{float(value):.6g}"
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
