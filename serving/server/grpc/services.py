"""The gRPC services: each call is handed to its function, each RequestError becomes a status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.protocol.errors import RequestError
from serving.server.grpc.messages import time_left
from serving.server.grpc.requests import unary
from serving.server.inference.classification import CLASSIFY
from serving.server.inference.context import RunContext
from serving.server.inference.metadata import get_model_metadata
from serving.server.inference.multi_inference import multi_inference
from serving.server.inference.predict import predict
from serving.server.inference.regression import REGRESS
from serving.server.limits import Answer, Bounds
from serving.server.metrics import Metrics
from serving.server.models.core import ServerCore
from serving.server.models.reload import MAX_RELOADS, Reloads
from serving.server.models.status import get_model_status
from serving.server.public_text import unforeseen
from serving.server.work import Work

logger = logging.getLogger("serving.server")
T = TypeVar("T")


def answer(context: Any, run: Callable[[], T]) -> T:
    """Runs a handler; what it raises ends the call with code and text."""
    try:
        return run()
    except RequestError as error:
        context.abort(error.code, error.wire_message)
    except Exception as error:
        logger.exception("request failed in the server")
        context.abort(grpc.StatusCode.INTERNAL, unforeseen(error).wire_message)
    raise AssertionError("context.abort returned")


def counted(api: str, function: Callable[..., T]) -> Callable[..., T]:
    """Returns the handler with its requests and their latency counted."""

    def run(core: ServerCore, request: Any, context: RunContext) -> T:
        assert context.metrics is not None
        with context.metrics.counted(request.model_spec.name, api, "GRPC"):
            return function(core, request, context)

    return run


class Services:
    """PredictionService and ModelService.

    Args:
        core: The models.
        settings: How requests are run.
        metrics: Where they are counted.
        bounds: What a request may cost.
        reloads: Answer HandleReloadConfigRequest.
    """

    def __init__(
        self, core: ServerCore, settings: RunContext, metrics: Metrics, bounds: Bounds, reloads: Reloads
    ) -> None:
        self._core = core
        self._settings = settings
        self._metrics = metrics
        self._bounds = bounds
        self._reloads = reloads
        # Reloads wait for models and must not hold the threads of predictions. One thread more refuses the fifth.
        self._reload_pool = ThreadPoolExecutor(MAX_RELOADS + 1, thread_name_prefix="serving-reload")

    def stop(self) -> None:
        """Takes no more reloads. Threads that still run are left behind."""
        self._reload_pool.shutdown(wait=False, cancel_futures=True)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, grpc.GenericRpcHandler]:
        """Returns what the gRPC server registers."""
        read = partial(unary, max_parts=self._bounds.limits.grpc_max_message_parts)
        prediction = {
            "Predict": read(predict_pb2.PredictRequest, self._counted("Predict", predict)),
            "Classify": read(classification_pb2.ClassificationRequest, self._counted("Classify", CLASSIFY.answer)),
            "Regress": read(regression_pb2.RegressionRequest, self._counted("Regress", REGRESS.answer)),
            "MultiInference": read(
                inference_pb2.MultiInferenceRequest, self._running(self._bounds.around(multi_inference))
            ),
            "GetModelMetadata": read(get_model_metadata_pb2.GetModelMetadataRequest, self._asking(get_model_metadata)),
        }
        models = {
            "GetModelStatus": read(get_model_status_pb2.GetModelStatusRequest, self._asking(get_model_status)),
            "HandleReloadConfigRequest": read(
                model_management_pb2.ReloadConfigRequest, self._reload, self._reload_pool
            ),
        }
        return (
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", prediction),
            grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", models),
        )

    def _running(self, function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
        """Returns a method that runs the model, within the call's deadline and while its client is there."""

        def run(request: Any, context: Any) -> Any:
            if not context.is_active():
                # The client left while the request waited for a thread.
                context.abort(grpc.StatusCode.CANCELLED, "the client has left")
            work = Work(time_left(context))
            context.add_callback(work.leave)
            settings = replace(self._settings, work=work, metrics=self._metrics)
            return answer(context, lambda: function(self._core, request, settings))

        return run

    def _counted(self, api: str, function: Answer) -> Callable[[Any, Any], Any]:
        """Returns a method that runs the model within the bounds, and is counted."""
        return self._running(counted(api, self._bounds.around(function)))

    def _reload(self, request: Any, context: Any) -> Any:
        """Reloads models, for as long as the client waits; gRPC reports that it left only to those who ask."""
        context.add_callback(self._core.versions.wake)
        return answer(context, lambda: self._reloads.answer(request, context.is_active))

    def _asking(self, function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
        """Returns a method about the models."""
        return lambda request, context: answer(context, lambda: function(self._core, request))
