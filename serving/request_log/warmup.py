"""The first different requests of a log, as TensorFlow Serving replays them before a version answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.files.whole_files import writing_whole
from serving.request_log.reading import LogError


def write_warmup(logs: Iterable[Any], out: Path, count: int) -> int:
    """Writes a file of warm-up requests, without replies and without what the log says about them.

    Args:
        logs: PredictionLogs.
        out: The file.
        count: The most requests.

    Returns:
        How many different requests were written.

    Raises:
        LogError: If there is no request.
        OSError, tf.errors.OpError: If the file cannot be written.
    """
    seen: set[bytes] = set()
    with writing_whole(out) as aside, tf.io.TFRecordWriter(str(aside)) as writer:
        for log in logs:
            record = _request(log).SerializeToString(deterministic=True)
            if record not in seen:
                seen.add(record)
                writer.write(record)
            if len(seen) >= count:
                break
        if not seen:
            raise LogError("expected a log with a request. Received: none")
    return len(seen)


def _request(log: Any) -> Any:
    """Returns a PredictionLog with the request alone. Model and version are left out: the file travels with a model."""
    kind = log.WhichOneof("log_type")
    found = prediction_log_pb2.PredictionLog()
    request = getattr(found, kind).request
    request.CopyFrom(getattr(log, kind).request)
    if kind != "multi_inference_log":
        _only_signature(request.model_spec)
    return found


def _only_signature(model_spec: Any) -> None:
    signature = model_spec.signature_name
    model_spec.Clear()
    model_spec.signature_name = signature
