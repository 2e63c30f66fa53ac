"""JSON bodies of REST requests to tensors.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from serving.protocol.errors import RequestError, invalid_argument, unimplemented
from serving.protocol.tensors import numpy_dtype
from serving.server.inference.tensor_io import Array

ROW, COLUMN = "row", "column"
_LARGEST_EXACT = {"float": 2**24 - 1, "double": 2**53 - 1}
_WHOLE = {
    "int8": (-(2**31), 2**31 - 1),
    "uint8": (-(2**31), 2**31 - 1),
    "int16": (-(2**31), 2**31 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
# Python's words for a broken document -> those of the parser in TensorFlow Serving.
_PARSE_ERRORS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or } after an object member.",
    "Extra data": "The document root must not be followed by other values.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
}
_TEXT_LIMIT = 1024
_WRITER = json.JSONEncoder(indent=4)
# Every escape in a document. The group matches half a surrogate pair without its other half.
_ESCAPES = re.compile(r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(u[dD][89a-fA-F]\w\w)|.)", re.DOTALL)
# numpy's limit. TensorFlow's is 254, which no op supports.
_MAX_RANK = 32


def _integer(digits: str) -> int | float:
    # Python needs quadratic time for long integers. In JSON, numbers beyond 64 bits are doubles anyway.
    if len(digits) < 20:
        return int(digits)
    number = int(digits) if len(digits) == 20 else -1
    return number if 0 <= number < 2**64 else _float(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise invalid_argument("JSON Parse error: Number too big to be stored in double. at offset: 0")
    return number


def parse_object(body: bytes) -> dict[str, Any]:
    """Parses a body that must be a JSON object; NaN and Infinity are allowed, bytes that are no UTF-8 are kept.

    Raises:
        RequestError: INVALID_ARGUMENT, if it is something else.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode("utf-8", "surrogateescape"), parse_int=_integer, parse_float=_float)
    except json.JSONDecodeError as error:
        text = _PARSE_ERRORS.get(error.msg, f"{error.msg}.")
        raise invalid_argument(f"JSON Parse error: {text} at offset: {error.pos}") from error
    except (RecursionError, ValueError) as error:
        raise invalid_argument("JSON Parse error: Terminate parsing due to Handler error. at offset: 0") from error
    _check_surrogates(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {text_of(document)} Is not object")
    return document


def _check_surrogates(body: bytes) -> None:
    """Refuses an escaped half of a surrogate pair without its other half, as TensorFlow Serving's parser does."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return
    for escape in _ESCAPES.finditer(body.decode("utf-8", "surrogateescape")):
        if escape[1]:
            raise invalid_argument(
                f"JSON Parse error: The surrogate pair in string is invalid. at offset: {escape.start()}"
            )


def text_of(value: Any) -> str:
    """Returns a JSON value as error texts show it, cut where it is long. Only that is written: bodies may be large."""
    text = ""
    for piece in _WRITER.iterencode(value):
        text += piece
        if len(text) > _TEXT_LIMIT:
            return text[:_TEXT_LIMIT] + "..."
    return text


def kind_of(value: Any) -> str:
    """Returns the JSON type of a value as error texts name it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def read_signature_name(document: Mapping[str, Any]) -> str:
    """Returns the optional `signature_name`, "" where there is none.

    Raises:
        RequestError: If it is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {text_of(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def is_base64(value: Any) -> bool:
    """Returns whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """Returns the bytes of `{"b64": "..."}`.

    Raises:
        RequestError: If it is something else, or no base64.
    """
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {text_of(value)} not formatted correctly for base64 data")
    try:
        text = value["b64"].translate(str.maketrans("-_", "+/")).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


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
        value: A JSON value; lists nest as deep as the tensor's rank.
        dtype: DataType number of the elements.

    Raises:
        RequestError: If lists are ragged or values of the wrong kind.
    """
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
    _fill(value, 0, shape, tf.as_dtype(dtype).name.replace("float32", "float").replace("float64", "double"), flat)
    target = numpy_dtype(dtype)
    if target == np.dtype(object):
        array = np.empty(len(flat), object)
        array[:] = flat
    else:
        # Narrow integers wrap, as when TensorFlow reads int_val.
        wide = np.int64 if target is not None and target.kind in "iu" and target.itemsize < 8 else target
        array = np.array(flat, wide).astype(target)
    return array.reshape(shape)


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
