"""grpc.health.v1.Health, behind `--enable_grpc_healthcheck_service`.

The short names are TensorFlow Serving's. There they are SERVING from the start to the end. Here the whole server and
`PredictionService` are SERVING while every configured model has a version that answers. `ModelService` tells of models
that are missing, so it stays SERVING. A drain turns all of them to NOT_SERVING.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from serving.server.grpc.requests import decoder, refuse_undecodable, unary

_NEED_MODELS = ("", "PredictionService")
_NAMES = (*_NEED_MODELS, "ModelService")
# Each watcher holds a thread of the server.
_MAX_WATCHERS = 8


class Health:
    """Check and Watch.

    The servicer is that of grpcio-health-checking. Its own way to register cannot be used: it reads requests with a
    deserializer that may fail, and takes any number of watchers.
    """

    def __init__(self) -> None:
        self._servicer = HealthServicer()
        for name in _NAMES:
            self._servicer.set(name, HealthCheckResponse.SERVING)
        self._watchers = threading.BoundedSemaphore(_MAX_WATCHERS)

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns what the gRPC server registers."""
        watch = grpc.unary_stream_rpc_method_handler(
            self._watch,
            request_deserializer=decoder(HealthCheckRequest),
            response_serializer=lambda response: response.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": unary(HealthCheckRequest, self._servicer.Check), "Watch": watch}
        )

    def tell_models(self, are_ready: bool) -> None:
        """Says whether every configured model answers, and tells the watchers. After a drain began nothing changes."""
        for name in _NEED_MODELS:
            self._servicer.set(name, HealthCheckResponse.SERVING if are_ready else HealthCheckResponse.NOT_SERVING)

    def begin_drain(self) -> None:
        """Turns all names to NOT_SERVING for good, and tells the watchers."""
        self._servicer.enter_graceful_shutdown()

    def _watch(self, request: Any, context: Any) -> Iterator[Any]:
        refuse_undecodable(request, context)
        if not self._watchers.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {_MAX_WATCHERS} watchers")
        if not context.add_callback(self._watchers.release):
            self._watchers.release()
            return
        yield from self._servicer.Watch(request, context)
