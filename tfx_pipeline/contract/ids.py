"""Ids as numpy arrays of UTF-8 bytes: the one way from text to such arrays and back.

Bytes, because their order is that of the code points on every machine, and ids that differ by normal form stay
different. An array has a fixed width, which is compact and fast to sort. Where an id is longer than `WIDEST` bytes it
is an array of objects instead: in a fixed width every id would take as many bytes as the longest. The two may be mixed.

A fixed width drops trailing NULs, so ids must not hold any; the contract refuses them. b"" is never an id.
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

#: Of bytes, in a fixed width or as objects.
Ids = npt.NDArray[Any]

#: Bytes. Up to here padding costs no more than a Python object for each id would.
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
    """Returns which of the ids are among the others. (np.isin takes quadratic time over objects.)"""
    return lookup(ids, np.unique(others)) >= 0
