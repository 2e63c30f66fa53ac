"""JSON values to tensors.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.arrays import object_array
from serving.protocol.data_types import numpy_dtype
from serving.protocol.errors import RequestError, invalid_argument, unimplemented
from serving.protocol.protos import DATA_TYPES
from serving.server.inference.tensor_io import Array
from serving.server.rest.json_document import decode_base64, kind_of, text_of
from serving.server.rest.json_numbers import NotPlainError

ROW, COLUMN = "row", "column"
_LARGEST_EXACT = {"float": 2**24 - 1, "double": 2**53 - 1}
_DECIMALS = (DATA_TYPES["DT_FLOAT"], DATA_TYPES["DT_DOUBLE"])
_WHOLE = {
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
# numpy's limit. TensorFlow's is 254, which no op supports.
_MAX_RANK = 32


def _type_error(value: Any, name: str) -> RequestError:
    return invalid_argument(f"JSON Value: {text_of(value)} Type: {kind_of(value)} is not of expected type: {name}")


def convert(value: Any, name: str) -> Any:
    """Returns one JSON value as an element of a tensor.

    Args:
        value: Not a list.
        name: TensorFlow's name of the type, for example `float`.

    Raises:
        RequestError: If the value is of another kind, or would lose precision.
    """
    if isinstance(value, dict):
        if name != "string":
            raise _type_error(value, name)
        return decode_base64(value)
    if name == "string":
        if not isinstance(value, str):
            raise _type_error(value, name)
        return value.encode("utf-8", "surrogateescape")
    if name == "bool":
        if not isinstance(value, bool):
            raise _type_error(value, name)
        return value
    if name in _LARGEST_EXACT:
        return _decimal(value, name)
    if name in _WHOLE:
        low, high = _WHOLE[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _type_error(value, name)
        return value
    raise unimplemented(f"Conversion of JSON Value: {text_of(value)} to type: {name}")


def _decimal(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _type_error(value, name)
    limits = np.finfo(np.float32 if name == "float" else np.float64)
    exact = isinstance(value, float) or abs(value) <= _LARGEST_EXACT[name]
    # Compared as Python floats: numpy 2 would round the value to a float32 first.
    if not exact or (math.isfinite(value) and not float(limits.min) <= value <= float(limits.max)):
        raise invalid_argument(f"Cannot convert JSON value: {text_of(value)} to {name} without loss of precision.")
    return float(value)


def read_tensor(value: Any, dtype: int) -> Array:
    """Returns a dense tensor of nested lists.

    Args:
        value: A JSON value; lists nest as deep as the tensor's rank. Or an array of `json_numbers`.
        dtype: DataType number of the elements.

    Raises:
        RequestError: If lists are ragged or values of the wrong kind.
        NotPlainError: For an array, if the elements are no floating-point numbers.
    """
    if isinstance(value, np.ndarray):
        if dtype not in _DECIMALS:
            raise NotPlainError(f"an array cannot become DataType {dtype}")
        return value.astype(numpy_dtype(dtype))
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"a tensor must have at most {_MAX_RANK} dimensions. Received: {len(shape)}")
    flat: list[Any] = []
    name = tf.as_dtype(dtype).name.replace("float32", "float").replace("float64", "double")
    target = numpy_dtype(dtype)
    if (plain := _plain_numbers(value, shape, name)) is not None:
        return plain.astype(target).reshape(shape)
    _fill(value, 0, shape, name, flat)
    if target == np.dtype(object):
        array = object_array(flat)
    else:
        # Narrow integers wrap, as when TensorFlow reads int_val.
        wide = np.int64 if target is not None and target.kind in "iu" and target.itemsize < 8 else target
        array = np.array(flat, wide).astype(target)
    return array.reshape(shape)


def _plain_numbers(value: Any, shape: list[int], name: str) -> Array | None:
    """Returns the numbers of a list, or of a list of lists, at once; None where a value must be looked at by itself."""
    if name not in _LARGEST_EXACT or len(shape) not in (1, 2):
        return None
    rows = value if len(shape) == 2 else [value]
    if any(type(row) is not list or len(row) != shape[-1] for row in rows):
        return None
    kinds = set(map(type, chain.from_iterable(rows)))
    if not kinds <= {float, int}:
        return None
    largest = _LARGEST_EXACT[name] if int in kinds else float(np.finfo(name.replace("float", "float32")).max)
    try:
        numbers = np.fromiter(chain.from_iterable(rows), np.float64, count=len(rows) * shape[-1])
    except OverflowError:
        return None
    finite = np.isfinite(numbers)
    return numbers if np.all(np.abs(numbers, where=finite, out=np.zeros_like(numbers)) <= largest) else None


def _fill(value: Any, level: int, shape: list[int], name: str, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {text_of(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        flat.append(convert(value, name))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _fill(element, level + 1, shape, name, flat)
