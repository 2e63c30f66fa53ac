"""TensorFlow's data types: their numpy types, and the fields of a TensorProto that hold their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.protocol.protos import DATA_TYPES


@dataclass(frozen=True)
class Kind:
    """How one DataType travels: its number, its numpy type, the repeated field that holds its values."""

    number: int
    name: str
    dtype: np.dtype[Any]
    field: str


def _kind(name: str, dtype: Any, field: str) -> Kind:
    return Kind(DATA_TYPES[name], name, np.dtype(dtype), field)


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
BY_NUMBER = {kind.number: kind for kind in _KINDS}
BY_DTYPE = {kind.dtype: kind for kind in _KINDS}
#: These fields hold real and imaginary parts, or bit patterns, in place of the values.
STORED_AS: dict[str, np.dtype[Any]] = {
    "DT_COMPLEX64": np.dtype(np.float32),
    "DT_COMPLEX128": np.dtype(np.float64),
    "DT_HALF": np.dtype(np.uint16),
}


def dtype_name(number: int) -> str:
    """Returns the name of a DataType number, for example `DT_FLOAT`; `DT_<number>` if it is not known."""
    return BY_NUMBER[number].name if number in BY_NUMBER else f"DT_{number}"


def numpy_dtype(number: int) -> np.dtype[Any] | None:
    """Returns the numpy type of a DataType number (object for strings), None where there is none."""
    return BY_NUMBER[number].dtype if number in BY_NUMBER else None


def array_dtype_name(array: np.ndarray[Any, Any]) -> str:
    """Returns the name of an array's DataType, for example `DT_FLOAT`; numpy's own name where there is none."""
    kind = BY_DTYPE.get(array.dtype)
    return str(array.dtype) if kind is None else kind.name


def shape_text(array: np.ndarray[Any, Any]) -> str:
    """Returns a shape as TensorFlow prints it."""
    return f"[{','.join(str(size) for size in array.shape)}]"
