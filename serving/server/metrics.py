"""Counters and latencies under TensorFlow Serving's own names, on prometheus_client."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client.core import CollectorRegistry

from serving.server.errors import RequestError

# Microseconds, 10 * 1.8^i as TensorFlow Serving's buckets.
_BUCKETS = [10 * 1.8**exponent for exponent in range(33)]
_PREFIX = ":tensorflow:serving:"
# Clients name models as they please, and every name would be kept for good.
_MAX_NAMES, _MAX_NAME_LENGTH, _OTHERS = 1000, 200, "(others)"


class Metrics:
    """What a server counts. One registry per server, so that several in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._names: set[str] = set()

        def counter(name: str, text: str, labels: list[str]) -> prometheus_client.Counter:
            return prometheus_client.Counter(_PREFIX + name, text, labels, registry=self.registry)

        def histogram(name: str, text: str, labels: list[str]) -> prometheus_client.Histogram:
            return prometheus_client.Histogram(_PREFIX + name, text, labels, registry=self.registry, buckets=_BUCKETS)

        self.requests = counter("request_count", "The total number of requests.", ["model_name", "status"])
        self.latency = histogram(
            "request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            ["model_name", "API", "entrypoint"],
        )
        self.runtime = histogram(
            "runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            ["model_name", "API", "runtime"],
        )
        self.warmup = histogram(
            "model_warmup_latency",
            "Distribution of wall time (in microseconds) for warming up the model.",
            ["model_path", "status"],
        )
        self.examples = histogram("request_example_counts", "The number of tensorflow.Examples per request.", ["model"])

    @contextmanager
    def counted(self, model_name: str, api: str, entrypoint: str) -> Iterator[None]:
        """Count a request by its outcome, and its latency where it went well."""
        start, model_name = time.perf_counter(), self._label(model_name)
        try:
            yield
        except RequestError as error:
            self.requests.labels(model_name, error.code.name).inc()
            raise
        self.latency.labels(model_name, api, entrypoint).observe((time.perf_counter() - start) * 1e6)
        self.requests.labels(model_name, "OK").inc()

    def _label(self, model_name: str) -> str:
        name = model_name[:_MAX_NAME_LENGTH]
        if name not in self._names:
            if len(self._names) >= _MAX_NAMES:
                return _OTHERS
            self._names.add(name)
        return name

    def value(self, name: str) -> float:
        """Sum of a counter over its labels, by TensorFlow Serving's name (`/tensorflow/serving/request_count`)."""
        wanted = name.replace("/", ":")
        return sum(
            sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if metric.name == wanted and sample.name.endswith("_total")
        )

    def render(self) -> str:
        """Prometheus' text format, without the `_total` and `_created` that prometheus_client adds to names."""
        lines = []
        for metric in self.registry.collect():
            lines += [f"# HELP {metric.name} {metric.documentation}", f"# TYPE {metric.name} {metric.type}"]
            for sample in metric.samples:
                if sample.name.endswith("_created"):
                    continue
                name = metric.name if sample.name == f"{metric.name}_total" else sample.name
                labels = ",".join(f'{key}="{_escape(value)}"' for key, value in sample.labels.items())
                lines.append(f"{name}{{{labels}}} {_number(sample.value)}")
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, repr(float(value)))


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
