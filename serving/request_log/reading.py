"""The records of log files, in the order of their time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.server.request_log.files import PART


class LogError(ValueError):
    """A log cannot be read."""


def read_logs(paths: Iterable[str], note: Callable[[str], None]) -> Iterator[Any]:
    """Yields the PredictionLogs of files, by the names of the files, which have their time.

    Args:
        paths: The files. One that ends in `.part` was not ended: its whole records are read.
        note: Takes a line about each of these.

    Raises:
        LogError: If a file cannot be read, or a whole one is damaged.
    """
    for path in sorted(paths, key=os.path.basename):
        if not os.path.isfile(path):
            raise LogError(f"{path}: expected a file of the request log. Received: {_what(path)}")
        count = 0
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                yield _parsed(record, f"{path}, record {count}")
                count += 1
        except tf.errors.OpError as error:
            if not path.endswith(PART):
                raise LogError(
                    f"{path}: expected whole records. Received: {count}, and then {error.message}"
                ) from error
        if path.endswith(PART):
            note(f"{path}: not ended, read {count} whole records")


def _what(path: str) -> str:
    return "a folder" if os.path.isdir(path) else "nothing of this name"


def _parsed(record: bytes, where: str) -> Any:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        log = prediction_log_pb2.PredictionLog()
    if log.WhichOneof("log_type") is None:
        raise LogError(f"{where}: expected a PredictionLog with a request. Received: something else")
    return log
