"""Ids as numpy arrays of UTF-8 bytes, and the conversion from text to such arrays and back.

Bytes sort by code point on every machine, and keep ids apart that differ in Unicode normal form alone. An array has a
fixed width, which is compact and fast to sort. If an id is longer than `WIDEST` bytes, the array holds objects instead:
in a fixed width every id would take as many bytes as the longest. Both forms may be mixed.

A fixed width drops trailing NULs, so the contract refuses ids with a NUL. b"" is never an id.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: The columns of ids, in every table and every tf.Example.
SONG_ID = "song_id"
USER_ID = "user_id"

#: An array of bytes, in a fixed width or as objects.
Ids = npt.NDArray[Any]

#: Up to this many bytes, padding costs no more than a Python object for each id.
WIDEST = 128


def id_array(ids: Iterable[str] | Iterable[bytes] | pa.Array | pa.ChunkedArray) -> Ids:
    """Returns `(n,)` ids.

    Args:
        ids: Text, UTF-8 bytes, or an Arrow array of either.
    """
    if isinstance(ids, pa.Array | pa.ChunkedArray):
        coded = ids.cast(pa.large_binary()).to_pylist()
    else:
        coded = [id_.encode() if isinstance(id_, str) else id_ for id_ in ids]
    found = np.empty(len(coded), object)
    found[:] = coded
    return compact(found)


def compact(ids: npt.NDArray[np.object_]) -> Ids:
    """Returns an array of bytes objects, of any shape, in a fixed width unless one of them is too long for that."""
    longest = max(map(len, ids.ravel().tolist()), default=0)
    return ids.astype(f"S{max(longest, 1)}") if longest <= WIDEST else ids


def no_ids(*shape: int) -> Ids:
    """Returns an array of this shape, by default `(0,)`, that holds b"" only."""
    return np.zeros(shape or (0,), "S1")


def texts(ids: Ids) -> list[str]:
    """Returns `(n,)` ids as text."""
    return [id_.decode() for id_ in ids.tolist()]


def arrow_texts(ids: Ids) -> pa.Array:
    """Returns `(n,)` ids as an Arrow string array."""
    return pa.array(ids.tolist(), pa.binary()).cast(pa.string())


def lookup(ids: Ids, table: Ids) -> npt.NDArray[np.int64]:
    """Returns the place of each id, of any shape, in the ascending `table`; -1 where it is not there."""
    if not len(table):
        return np.full(np.shape(ids), -1, np.int64)
    place = np.minimum(np.searchsorted(table, ids), len(table) - 1)
    return np.where(table[place] == ids, place, -1)


def among(ids: Ids, others: Ids) -> npt.NDArray[np.bool_]:
    """Returns which of the ids are among the others, faster than np.isin, whose time over objects is quadratic."""
    return lookup(ids, np.unique(others)) >= 0
