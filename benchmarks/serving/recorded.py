"""Requests that a served model brings along: those of its warm-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.savedmodel.warmup_requests import REQUESTS_FILE


def latest(base: Path) -> Path:
    """The version folder with the highest number."""
    return max((folder for folder in base.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name))


def recorded_request(base: Path, signature: str = "match") -> bytes:
    """The warm-up request of a signature, addressed to the model `bcl`."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    requests: list[Any] = []
    for record in tf.data.TFRecordDataset(str(latest(base) / REQUESTS_FILE)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name == signature:
            requests.append(request)
    assert requests, f"{base}: expected a warm-up request of `{signature}`"
    requests[0].model_spec.name = "bcl"
    return bytes(requests[0].SerializeToString())
