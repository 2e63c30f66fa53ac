"""Warm-up requests inside a SavedModel: TensorFlow Serving replays them before it lets a version answer.

There is a record per signature. So no first request has to wait until the graph is set up, and a version with a failing
signature never replaces another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.protocol.tensors import to_proto

#: Where TensorFlow Serving looks, below the version's folder.
REQUESTS_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")


def write_requests(saved_model: str, requests: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]) -> None:
    """Writes one Predict request per signature.

    Args:
        saved_model: Folder of the SavedModel.
        requests: Inputs by name, by signature.
    """
    file = os.path.join(saved_model, REQUESTS_FILE)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with tf.io.TFRecordWriter(file) as writer:
        for signature, inputs in requests.items():
            log = prediction_log_pb2.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                to_proto(value, request.inputs[name])
            writer.write(log.SerializeToString(deterministic=True))


def warmed_signatures(saved_model: str) -> set[str]:
    """Returns the signatures that a SavedModel's warm-up requests ask for; none where there is no such file."""
    file = os.path.join(saved_model, REQUESTS_FILE)
    if not os.path.isfile(file):
        return set()
    records = tf.data.TFRecordDataset(file).as_numpy_iterator()
    logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    return {log.predict_log.request.model_spec.signature_name for log in logs if log.HasField("predict_log")}
