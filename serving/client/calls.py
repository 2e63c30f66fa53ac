"""The calls of a client, apart from how they travel: methods, messages, time limits and errors."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from serving.protocol import protos

T = TypeVar("T")


class ServingError(Exception):
    """A call failed: the server refused it or could not be reached.

    Attributes:
        code: The grpc.StatusCode.
        details: The server's own text.
    """

    def __init__(self, code: grpc.StatusCode, details: str, *, method: str, target: str) -> None:
        super().__init__(f"{method} at {target} failed with {code.name}: {details}")
        self.code = code
        self.details = details


class Deadline:
    """The time limit of an operation.

    By hand, because gRPC's service config limits single calls, and an operation may have several: metadata, and the
    parts of a split batch.
    """

    def __init__(self, seconds: float | None) -> None:
        if seconds is not None and seconds <= 0:
            raise ValueError(f"`timeout` must be a positive number of seconds or None. Received: {seconds}")
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Returns the seconds left, 0 when it has passed, None without a limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())


@dataclass(frozen=True)
class Method:
    """A remote procedure: its path and the class of its reply."""

    path: str
    reply: Any

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[1]


PREDICT = Method("/tensorflow.serving.PredictionService/Predict", protos.PredictResponse)
METADATA = Method("/tensorflow.serving.PredictionService/GetModelMetadata", protos.GetModelMetadataResponse)
STATUS = Method("/tensorflow.serving.ModelService/GetModelStatus", protos.GetModelStatusResponse)
METHODS = (PREDICT, METADATA, STATUS)


@dataclass(frozen=True)
class Call:
    """One message to send, and until when its reply is waited for."""

    method: Method
    request: Any
    deadline: Deadline


#: An operation: yields a `Call`, is sent the reply or thrown the grpc.RpcError, and returns its result.
Steps = Generator[Call, Any, T]
