"""TensorProtos of requests, by the rules of TensorFlow's own reader."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.data_types import numpy_dtype
from serving.protocol.errors import invalid_argument
from serving.protocol.tensors import MAX_TENSOR_BYTES, from_proto

Array = np.ndarray[Any, Any]
# Larger numbers are TensorFlow 1's references to variables.
_LAST_VALUE_TYPE = 100


def read_tensor(proto: Any, alias: str) -> Array:
    """Returns the value of one input.

    Raises:
        RequestError: INVALID_ARGUMENT, if TensorFlow could not read it either.
    """
    try:
        if numpy_dtype(proto.dtype) is not None:
            return from_proto(proto)
        return _read_rare(proto)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid_argument(f"tensor parsing error: {alias}") from error


def _read_rare(proto: Any) -> Array:
    """Reads types that numpy lacks (bfloat16, float8, quantised) by TensorFlow, after a check of the size."""
    elements = 1
    for dim in proto.tensor_shape.dim:
        elements *= max(dim.size, 0)
    if proto.dtype > _LAST_VALUE_TYPE:
        raise ValueError(f"a value cannot be a reference. Received: type {proto.dtype}")
    if any(dim.size < 0 for dim in proto.tensor_shape.dim):
        raise ValueError("sizes of a value must be 0 or more")
    if elements * 16 > MAX_TENSOR_BYTES:
        raise ValueError(f"a tensor must take at most {MAX_TENSOR_BYTES} bytes")
    try:
        return np.asarray(tf.make_ndarray(proto))
    except KeyError as error:
        # Resources, variants and numbers that are no DataType have no value that a client could send.
        raise ValueError(f"no value can be of type {proto.dtype}") from error
