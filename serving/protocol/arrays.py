"""Arrays of Python objects, and lists of different length as rows of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """Returns `value` as an array, strings as objects: a fixed width would drop the NUL bytes at a tf.Example's end."""
    first = value
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    array = np.asarray(value, object if isinstance(first, (str, bytes)) else None)
    return array.astype(object) if array.dtype.kind in "SU" else array


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
