"""What one request may cost: rows, values and words, and how many rows of all requests run at the same time.

A refusal names the flag, its value and what was received. A limit of 0 is no limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.errors import invalid_argument
from serving.protocol.protos import DATA_TYPES
from serving.protocol.tensors import from_proto
from serving.server.flags import ServerFlags
from serving.server.inference.context import RunContext
from serving.server.refusals import exceeds
from serving.server.wire import count_parts
from serving.server.work import Budget

_STRING = DATA_TYPES["DT_STRING"]
# The served model's input of serialized tf.Examples, and the name that TensorFlow's own exporters give it.
_EXAMPLES = ("examples", "inputs")
# A number in a tf.Example takes four bytes, a word at least two.
_BYTES_PER_NUMBER, _BYTES_PER_WORD = 4, 2
# No model has so many inputs, and TensorFlow no tensor of so many dimensions.
_MAX_INPUTS, _MAX_DIMENSIONS = 1024, 254
# Bytes. In less, protobuf reads any map in a few milliseconds.
_SMALL_MESSAGE = 2**18
Answer = Callable[[Any, Any, RunContext], Any]


def check_parts(data: bytes, message: Any, max_parts: int, where: str = "the message") -> None:
    """Refuses a message of too many fields, or with a map too large, before it is read.

    Args:
        data: On the wire.
        message: Its descriptor.
        max_parts: `--grpc_max_message_parts`, 0 = no limit.
        where: For the error.

    Raises:
        RequestError: INVALID_ARGUMENT.
    """
    if len(data) < min(_SMALL_MESSAGE, 2 * max_parts or _SMALL_MESSAGE):  # a field takes at least two bytes
        return
    parts = count_parts(data, message, most=max_parts or len(data), most_entries=_MAX_INPUTS)
    if parts.entries > _MAX_INPUTS:
        raise invalid_argument(
            f"{where}: expected at most {_MAX_INPUTS} inputs or features. Received: {parts.entries} or more"
        )
    if 0 < max_parts < parts.fields:
        raise exceeds("grpc_max_message_parts", max_parts, parts.fields, "fields", where)


@dataclass(frozen=True)
class Limits:
    """Limits of one request; 0 = no limit. The names are the flags'.

    Attributes:
        max_request_rows: Rows, which are the songs of a request.
        max_request_values: Numbers in all inputs together.
        max_request_strings: Words in all inputs together.
        grpc_max_message_parts: Fields of a message over gRPC, checked before it is read.
    """

    max_request_rows: int = 1024
    max_request_values: int = 4 * 2**20
    max_request_strings: int = 256 * 2**10
    grpc_max_message_parts: int = 300_000

    @classmethod
    def from_flags(cls, flags: ServerFlags) -> Limits:
        """Returns the limits that the flags set."""
        return cls(**{each.name: getattr(flags, each.name) for each in fields(cls)})

    def check_rows(self, rows: int, where: str) -> None:
        """Refuses too many rows."""
        if 0 < self.max_request_rows < rows:
            raise exceeds("max_request_rows", self.max_request_rows, rows, "rows", where)

    def check_values(self, count: int, where: str, *, are_strings: bool) -> None:
        """Refuses too many numbers or words."""
        flag, what = ("max_request_strings", "strings") if are_strings else ("max_request_values", "values")
        limit = getattr(self, flag)
        if 0 < limit < count:
            raise exceeds(flag, limit, count, what, where)

    def check_body(self, document: Mapping[str, Any]) -> None:
        """Refuses a JSON body with too many rows, before a tensor is made of it."""
        for key in ("instances", "examples"):
            if isinstance(rows := document.get(key), (list, np.ndarray)):
                self.check_rows(len(rows), f"'{key}'")
        inputs = document.get("inputs")
        columns = inputs if isinstance(inputs, dict) else {"inputs": inputs}
        for name, values in columns.items():
            if isinstance(values, (list, np.ndarray)):
                self.check_rows(len(values), f"'{name}' of 'inputs'")

    def check(self, request: Any) -> int:
        """Refuses a request that is too large, before a tensor is made of it.

        Args:
            request: A PredictRequest, or a request with an Input of tf.Examples.

        Returns:
            The number of rows.

        Raises:
            RequestError: INVALID_ARGUMENT. It names the flag, its value and what was received.
        """
        if hasattr(request, "inputs"):
            return self._check_tensors(request.inputs)
        kind = request.input.WhichOneof("kind")
        if kind is None:
            return 0
        rows = len(getattr(request.input, kind).examples)
        self.check_rows(rows, "input")
        examples = list(getattr(request.input, kind).examples)
        if kind == "example_list_with_context":
            # The context is copied into every example.
            context = request.input.example_list_with_context.context
            self.check_values(context.ByteSize() // _BYTES_PER_NUMBER * rows, "context", are_strings=False)
            examples.append(context)
        self._check_examples(examples, rows, max(map(_size, examples), default=0), "input")
        return rows

    def _check_tensors(self, inputs: Mapping[str, Any]) -> int:
        if len(inputs) > _MAX_INPUTS:
            raise invalid_argument(f"the request: expected at most {_MAX_INPUTS} inputs. Received: {len(inputs)}")
        rows, counts = 0, {True: 0, False: 0}
        for name, proto in sorted(inputs.items()):
            if (rank := len(proto.tensor_shape.dim)) > _MAX_DIMENSIONS:
                raise invalid_argument(f"input {name}: expected at most {_MAX_DIMENSIONS} dimensions. Received: {rank}")
            sizes = [dim.size for dim in proto.tensor_shape.dim]
            if any(size < 0 for size in sizes):
                continue  # whoever reads the tensor refuses it
            own = sizes[0] if sizes else 1
            self.check_rows(own, f"input {name}")
            rows = max(rows, own)
            is_string = proto.dtype == _STRING
            # A shape may declare more values than the message has: the last one is repeated.
            counts[is_string] += max(math.prod(sizes), len(proto.string_val))
            self.check_values(counts[is_string], f"inputs up to {name}", are_strings=is_string)
            if is_string and name in _EXAMPLES and len(sizes) == 1:
                longest = max(map(len, proto.string_val), default=len(proto.tensor_content))
                where = f"input {name}"
                examples = (self._parsed(data, where) for data in _strings(proto))
                self._check_examples(examples, own, longest, where)
        return rows

    def _parsed(self, data: bytes, where: str) -> Any:
        """Returns a tf.Example; None for what is none, which the graph refuses by its own text."""
        check_parts(data, tf.train.Example.DESCRIPTOR, self.grpc_max_message_parts, where)
        try:
            return tf.train.Example.FromString(data)
        except Exception:  # protobuf's classes differ by implementation
            return None

    def _check_examples(self, examples: Iterable[Any], count: int, longest: int, where: str) -> None:
        """Refuses a list so long that rows padded to its length are too many values.

        Args:
            examples: tf.Examples, None for one that cannot be read.
            count: How many rows there are.
            longest: Bytes of the longest.
            where: For the message.
        """
        if not self.max_request_strings or count * longest // _BYTES_PER_WORD <= self.max_request_strings:
            return
        for example in examples:
            if example is None:
                continue
            if (features := len(example.features.feature)) > _MAX_INPUTS:
                raise invalid_argument(f"{where}: expected at most {_MAX_INPUTS} features. Received: {features}")
            for name, feature in example.features.feature.items():
                kind = feature.WhichOneof("kind")
                length = 0 if kind is None else len(getattr(feature, kind).value)
                text = f"{where}, feature {name}, padded"
                self.check_values(length * count, text, are_strings=kind != "float_list")


def _size(message: Any) -> int:
    return int(message.ByteSize())


def _strings(proto: Any) -> Iterator[bytes]:
    """Yields the strings of a tensor; none where it cannot be read, which whoever reads it refuses."""
    if proto.tensor_content:
        with suppress(ValueError):
            yield from from_proto(proto)
    else:
        yield from proto.string_val


class Bounds:
    """The limits of one request, and the rows that run at the same time, for both protocols.

    Args:
        limits: Of one request.
        max_running_rows: Rows that run at the same time; further ones wait.
    """

    def __init__(self, limits: Limits, max_running_rows: int) -> None:
        self.limits = limits
        self._running = Budget(max_running_rows, "rows (--max_running_rows)")

    def around(self, answer: Answer) -> Answer:
        """Returns a function like `answer` of models, request and context, within the bounds."""

        def run(models: Any, request: Any, context: RunContext) -> Any:
            rows = self.limits.check(request)
            with self._running.share(rows, context.work):
                return answer(models, request, context)

        return run
