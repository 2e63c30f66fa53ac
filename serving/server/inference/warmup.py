"""Replay of recorded requests before a version serves, so that the first real one finds everything set up.

Source: tensorflow_serving/servables/tensorflow/{saved_model_warmup,saved_model_warmup_util}.cc.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.protocol.errors import data_loss, invalid_argument, unimplemented
from serving.savedmodel.warmup_requests import REQUESTS_FILE
from serving.server.inference.classification import CLASSIFY
from serving.server.inference.context import RunContext
from serving.server.inference.multi_inference import run_multi_inference
from serving.server.inference.predict import run_predict
from serving.server.inference.regression import REGRESS
from serving.server.inference.servable import Servable
from serving.server.inference.tensor_io import read_tensor

MAX_RECORDS = 1000


def warm_up(servable: Servable, path: str, version: int, iterations: int = 1) -> int:
    """Runs every record of a version's warm-up file; a version without one is fine.

    Args:
        servable: The loaded version.
        path: Its folder.
        version: Its number.
        iterations: How often each record is run.

    Returns:
        How many records there were.

    Raises:
        RequestError: If a record cannot be read or fails, or there are more than 1000 of them.
    """
    file = os.path.join(path, REQUESTS_FILE)
    if not os.path.isfile(file):
        return 0
    count = 0
    for log in _read(file):
        for _ in range(iterations):
            _replay(servable, log, version)
        count += 1
        if count > MAX_RECORDS:
            raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {file}")
    return count


def _read(file: str) -> Iterator[Any]:
    try:
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            try:
                yield prediction_log_pb2.PredictionLog.FromString(record)
            except DecodeError as error:
                raise invalid_argument(f"Failed to parse warmup record: {record!r} from {file}") from error
    except (tf.errors.DataLossError, tf.errors.OutOfRangeError) as error:
        raise data_loss(f"{error.message}. Please verify your warmup data is in TFRecord format.") from error


def _replay(servable: Servable, log: Any, version: int) -> None:
    """Runs one record. Its model name and version are not looked at: the records travel with the model."""
    context = RunContext()
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        run_predict(servable, log.predict_log.request, version, context)
    elif kind == "classify_log":
        CLASSIFY.run(servable, log.classify_log.request, version, context)
    elif kind == "regress_log":
        REGRESS.run(servable, log.regress_log.request, version, context)
    elif kind == "multi_inference_log":
        run_multi_inference(servable, log.multi_inference_log.request, version, context)
    elif kind == "session_run_log":
        request = log.session_run_log.request
        feeds = [(feed.name, read_tensor(feed.tensor, feed.name)) for feed in request.feed]
        servable.run(feeds, list(request.fetch), context, api="SessionRun")
    else:
        raise unimplemented(f"Unsupported log_type for warmup: {kind}")
