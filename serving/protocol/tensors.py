"""numpy arrays to and from TensorProto, by TensorFlow's own rules for the wire format.

Works on any TensorProto class (ours in `serving.protocol.protos` or TensorFlow's), so client and server share it.
Source of the rules: tensorflow/core/framework/tensor.cc (`Tensor::FromProto`, `AsProtoField`,
`AsProtoTensorContent`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from serving.protocol.protos import DATA_TYPES

T = TypeVar("T")

# An expanded tensor never exceeds the largest message: a few bytes can declare a huge shape.
MAX_TENSOR_BYTES = 2**31 - 1
# Bytes to which one value may be repeated. TensorFlow writes a constant tensor as one value. Without a smaller bound
# for this, a few small requests at once could still take all memory.
MAX_REPEATED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class _Kind:
    """How one DataType travels: its number, its numpy type, the repeated field that holds its values."""

    number: int
    name: str
    dtype: np.dtype[Any]
    field: str


def _kind(name: str, dtype: Any, field: str) -> _Kind:
    return _Kind(DATA_TYPES[name], name, np.dtype(dtype), field)


_KINDS = [
    _kind("DT_FLOAT", np.float32, "float_val"),
    _kind("DT_DOUBLE", np.float64, "double_val"),
    _kind("DT_INT32", np.int32, "int_val"),
    _kind("DT_UINT8", np.uint8, "int_val"),
    _kind("DT_INT16", np.int16, "int_val"),
    _kind("DT_INT8", np.int8, "int_val"),
    _kind("DT_STRING", object, "string_val"),
    _kind("DT_COMPLEX64", np.complex64, "scomplex_val"),
    _kind("DT_INT64", np.int64, "int64_val"),
    _kind("DT_BOOL", np.bool_, "bool_val"),
    _kind("DT_UINT16", np.uint16, "int_val"),
    _kind("DT_COMPLEX128", np.complex128, "dcomplex_val"),
    _kind("DT_HALF", np.float16, "half_val"),
    _kind("DT_UINT32", np.uint32, "uint32_val"),
    _kind("DT_UINT64", np.uint64, "uint64_val"),
]
_BY_NUMBER = {kind.number: kind for kind in _KINDS}
_BY_DTYPE = {kind.dtype: kind for kind in _KINDS}
_STRING = DATA_TYPES["DT_STRING"]
# These fields hold real and imaginary parts, or bit patterns, in place of the values.
_STORED_AS: dict[str, np.dtype[Any]] = {
    "DT_COMPLEX64": np.dtype(np.float32),
    "DT_COMPLEX128": np.dtype(np.float64),
    "DT_HALF": np.dtype(np.uint16),
}


def dtype_name(number: int) -> str:
    """Returns the name of a DataType number, for example `DT_FLOAT`; `DT_<number>` if it is not known."""
    return _BY_NUMBER[number].name if number in _BY_NUMBER else f"DT_{number}"


def numpy_dtype(number: int) -> np.dtype[Any] | None:
    """Returns the numpy type of a DataType number (object for strings), None where there is none."""
    return _BY_NUMBER[number].dtype if number in _BY_NUMBER else None


def array_dtype_name(array: np.ndarray[Any, Any]) -> str:
    """Returns the name of an array's DataType, for example `DT_FLOAT`; numpy's own name where there is none."""
    kind = _BY_DTYPE.get(array.dtype)
    return str(array.dtype) if kind is None else kind.name


def shape_text(array: np.ndarray[Any, Any]) -> str:
    """Returns a shape as TensorFlow prints it."""
    return f"[{','.join(str(size) for size in array.shape)}]"


def object_array(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Returns values as they are in an array of one dimension, also where they are sequences themselves."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def padded(rows: Sequence[Sequence[T]], blank: T) -> list[list[T]]:
    """Returns lists of different length as rows of one length: a blank, the row's values, and blanks at the end.

    A batching server pads shorter requests with the first element of each. So that must be a blank.
    """
    width = 1 + max(map(len, rows), default=0)
    return [[blank, *row, *[blank] * (width - 1 - len(row))] for row in rows]


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"`array` of objects must hold str or bytes. Received: {value!r} of type {type(value).__name__}")


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Returns `value` as an array, strings as objects: a fixed width would drop the NUL bytes at a tf.Example's end."""
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    array = np.asarray(value, object if isinstance(first, (str, bytes)) else None)
    return array.astype(object) if array.dtype.kind in "SU" else array


def to_proto(array: Any, out: Any, *, as_content: bool = True) -> Any:
    """Writes an array into the TensorProto `out` and returns it.

    Args:
        array: Anything numpy takes; str and bytes become DT_STRING.
        out: An empty TensorProto.
        as_content: Numbers as raw bytes in `tensor_content` (compact, what a client sends). False writes the typed
            `*_val` lists, which is how TensorFlow Serving replies. Strings always use `string_val`.

    Raises:
        TypeError: If the array's type has no DataType, or an object is neither str nor bytes.
    """
    array = as_array(array)
    kind = _BY_DTYPE.get(array.dtype.newbyteorder("="))
    if kind is None:
        raise TypeError(f"`array` must hold numbers, booleans or strings. Received: dtype {array.dtype}")
    out.dtype = kind.number
    for size in array.shape:
        out.tensor_shape.dim.add(size=size)
    if kind.number == _STRING:
        out.string_val.extend([_as_bytes(value) for value in array.ravel().tolist()])
    elif as_content:
        out.tensor_content = np.ascontiguousarray(array, dtype=kind.dtype.newbyteorder("<")).tobytes()
    else:
        flat = np.ascontiguousarray(array.ravel(), dtype=kind.dtype)
        getattr(out, kind.field).extend(flat.view(_STORED_AS.get(kind.name, kind.dtype)).tolist())
    return out


def _shape_of(proto: Any) -> tuple[int, ...]:
    # `unknown_rank` is ignored: TensorFlow reads a value that sets it as a scalar.
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if any(size < 0 for size in shape):
        raise ValueError(f"sizes of a value must be 0 or more. Received: {list(shape)}")
    return shape


def _varints(data: bytes, count: int) -> tuple[list[int], int]:
    """Reads `count` varints from the start of `data`; returns the values and where they end."""
    values, position = [], 0
    for _ in range(count):
        value, shift = 0, 0
        while True:
            if position >= len(data) or shift > 28:
                raise ValueError("`tensor_content` of strings ends inside their lengths")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        values.append(value)
    return values, position


def _decode_content(kind: _Kind, content: bytes, count: int) -> np.ndarray[Any, Any]:
    if kind.number == _STRING:
        lengths, position = _varints(content, count)
        if position + sum(lengths) != len(content):
            raise ValueError(f"`tensor_content` must hold {position + sum(lengths)} bytes. Received: {len(content)}")
        values = np.empty(count, object)
        for row, length in enumerate(lengths):
            values[row] = content[position : position + length]
            position += length
        return values
    expected = count * kind.dtype.itemsize
    if len(content) != expected:
        raise ValueError(f"`tensor_content` must hold {expected} bytes. Received: {len(content)}")
    return np.frombuffer(content, kind.dtype.newbyteorder("<")).astype(kind.dtype)


def _decode_values(kind: _Kind, proto: Any, count: int) -> np.ndarray[Any, Any]:
    """Returns typed values; too few are filled up with the last one, or with zeros, and surplus ones are dropped."""
    values = list(getattr(proto, kind.field))
    if count > len(values) and count * kind.dtype.itemsize > MAX_REPEATED_BYTES:
        raise ValueError(
            f"a tensor must hold its values if it takes more than {MAX_REPEATED_BYTES} bytes. "
            f"Received: {len(values)} of {count}"
        )
    if kind.number == _STRING:
        flat = np.empty(len(values), object)
        flat[:] = values
        empty: Any = b""
    else:
        stored = _STORED_AS.get(kind.name, kind.dtype)
        # int_val has 32 bits for the narrow types too, and TensorFlow wraps to narrow them.
        wide = np.array(values, np.int64) if kind.field in ("int_val", "half_val") else np.array(values, stored)
        flat = wide.astype(stored)
        if kind.name.startswith("DT_COMPLEX"):
            flat = flat[: len(flat) // 2 * 2]
        flat = flat.view(kind.dtype)
        empty = kind.dtype.type(0)
    if len(flat) >= count:
        return flat[:count]
    result = np.empty(count, kind.dtype)
    result[: len(flat)] = flat
    result[len(flat) :] = flat[-1] if len(flat) else empty
    return result


def from_proto(proto: Any, *, max_bytes: int = MAX_TENSOR_BYTES) -> np.ndarray[Any, Any]:
    """Reads a TensorProto; strings come as an object array of bytes.

    Args:
        proto: A TensorProto of any class.
        max_bytes: Largest expanded tensor, in bytes; default 2^31 - 1.

    Raises:
        ValueError: If TensorFlow could not read the proto either: no or unknown dtype, a negative size,
            content of the wrong length, or more than `max_bytes`.
    """
    kind = _BY_NUMBER.get(proto.dtype)
    if kind is None:
        raise ValueError(f"`dtype` must be one of {sorted(_BY_NUMBER)}. Received: {proto.dtype}")
    shape = _shape_of(proto)
    count = 1
    for size in shape:
        count *= size
    if count * kind.dtype.itemsize > max_bytes:
        raise ValueError(f"a tensor must take at most {max_bytes} bytes. Received: shape {list(shape)}")
    if count and proto.tensor_content:
        flat = _decode_content(kind, proto.tensor_content, count)
    else:
        flat = _decode_values(kind, proto, count)
    return flat.reshape(shape)
