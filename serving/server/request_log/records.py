"""A request and its reply as one PredictionLog."""

from __future__ import annotations

import time
from typing import Any

from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    prediction_log_pb2,
    regression_pb2,
)

_FIELDS = {
    predict_pb2.PredictRequest: "predict_log",
    classification_pb2.ClassificationRequest: "classify_log",
    regression_pb2.RegressionRequest: "regress_log",
    inference_pb2.MultiInferenceRequest: "multi_inference_log",
}


def model_name(request: Any) -> str:
    """Returns the model that a request asks; that of the first task of a MultiInferenceRequest."""
    is_multiple = isinstance(request, inference_pb2.MultiInferenceRequest)
    return str((request.tasks[0] if is_multiple else request).model_spec.name)


def prediction_log(request: Any, reply: Any, rate: float, request_id: str) -> Any:
    """Returns the PredictionLog of a request that was answered.

    Args:
        request: Of Predict, Classify, Regress or MultiInference.
        reply: Its reply. It says which version answered.
        rate: The share of requests that are logged.
        request_id: The id in the access log. No field is made for it, so it stands in `request_origin`.
    """
    log = prediction_log_pb2.PredictionLog()
    both = getattr(log, _FIELDS[type(request)])
    both.request.CopyFrom(request)
    both.response.CopyFrom(reply)
    is_multiple = isinstance(reply, inference_pb2.MultiInferenceResponse)
    log.log_metadata.model_spec.CopyFrom(reply.results[0].model_spec if is_multiple else reply.model_spec)
    log.log_metadata.sampling_config.sampling_rate = rate
    log.log_metadata.timestamp_secs = int(time.time())
    log.log_metadata.request_origin = request_id
    return log
