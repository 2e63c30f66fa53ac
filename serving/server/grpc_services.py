"""The gRPC services: each call is handed to its function, each RequestError becomes a status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving.server.classification import classify
from serving.server.context import RunContext
from serving.server.core import ServerCore
from serving.server.errors import RequestError, internal
from serving.server.metadata import get_model_metadata, get_model_status
from serving.server.metrics import Metrics
from serving.server.multi_inference import multi_inference
from serving.server.predict import predict
from serving.server.regression import regress
from serving.server.reload import handle_reload

logger = logging.getLogger("serving.server")
T = TypeVar("T")


def timeout_ms(context: Any) -> int | None:
    """Milliseconds that a call may still take, None without a deadline."""
    left = context.time_remaining()
    # Without a deadline gRPC reports years, which do not fit RunOptions.
    return None if left is None or left > 1e6 else int(left * 1000)


def answer(context: Any, run: Callable[[], T]) -> T:
    """Run a handler; what it raises ends the call with code and text."""
    try:
        return run()
    except RequestError as error:
        context.abort(error.code, error.wire_message)
    except Exception as error:
        logger.exception("request failed in the server")
        context.abort(grpc.StatusCode.INTERNAL, internal(f"{type(error).__name__}: {error}").wire_message)
    raise AssertionError("context.abort returned")


def counted(api: str, function: Callable[..., T]) -> Callable[..., T]:
    """The handler with its requests and their latency counted."""

    def run(core: ServerCore, request: Any, context: RunContext) -> T:
        assert context.metrics is not None
        with context.metrics.counted(request.model_spec.name, api, "GRPC"):
            return function(core, request, context)

    return run


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict, Classify, Regress, MultiInference, GetModelMetadata."""

    def __init__(self, core: ServerCore, settings: RunContext, metrics: Metrics) -> None:
        self._core = core
        self._settings = settings
        self._metrics = metrics

    def _run(self, function: Callable[..., T], request: Any, context: Any) -> T:
        settings = replace(self._settings, timeout_ms=timeout_ms(context), metrics=self._metrics)
        return answer(context, lambda: function(self._core, request, settings))

    def Predict(self, request: Any, context: Any) -> Any:
        return self._run(counted("Predict", predict), request, context)

    def Classify(self, request: Any, context: Any) -> Any:
        return self._run(counted("Classify", classify), request, context)

    def Regress(self, request: Any, context: Any) -> Any:
        return self._run(counted("Regress", regress), request, context)

    def MultiInference(self, request: Any, context: Any) -> Any:
        return self._run(multi_inference, request, context)

    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        return answer(context, lambda: get_model_metadata(self._core, request))


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus, HandleReloadConfigRequest."""

    def __init__(self, core: ServerCore, metrics: Metrics) -> None:
        self._core = core
        self._metrics = metrics

    def GetModelStatus(self, request: Any, context: Any) -> Any:
        return answer(context, lambda: get_model_status(self._core, request))

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        return answer(context, lambda: handle_reload(self._core, request, self._metrics))
