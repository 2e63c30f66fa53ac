"""numpy arrays to and from TensorProto, by TensorFlow's own rules for the wire format.

Works on any TensorProto class (ours in `serving.protocol.protos` or TensorFlow's), so client and server share it.
Source of the rules: tensorflow/core/framework/tensor.cc (`Tensor::FromProto`, `AsProtoField`,
`AsProtoTensorContent`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.protocol.arrays import as_array
from serving.protocol.data_types import BY_DTYPE, BY_NUMBER, STORED_AS, Kind
from serving.protocol.protos import DATA_TYPES

# An expanded tensor never exceeds the largest message: a few bytes can declare a huge shape.
MAX_TENSOR_BYTES = 2**31 - 1
# Bytes to which one value may be repeated. TensorFlow writes a constant tensor as one value. Without a smaller bound
# for this, a few small requests at once could still take all memory.
MAX_REPEATED_BYTES = 64 * 2**20
_STRING = DATA_TYPES["DT_STRING"]


def _as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise TypeError(f"`array` of objects must hold str or bytes. Received: {value!r} of type {type(value).__name__}")


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
    kind = BY_DTYPE.get(array.dtype.newbyteorder("="))
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
        getattr(out, kind.field).extend(flat.view(STORED_AS.get(kind.name, kind.dtype)).tolist())
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


def _decode_content(kind: Kind, content: bytes, count: int) -> np.ndarray[Any, Any]:
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


def _decode_values(kind: Kind, proto: Any, count: int) -> np.ndarray[Any, Any]:
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
        stored = STORED_AS.get(kind.name, kind.dtype)
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
    kind = BY_NUMBER.get(proto.dtype)
    if kind is None:
        raise ValueError(f"`dtype` must be one of {sorted(BY_NUMBER)}. Received: {proto.dtype}")
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
