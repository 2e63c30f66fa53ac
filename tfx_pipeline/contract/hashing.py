"""Hashes strings to 64-bit numbers in batches, to count distinct ones in bounded memory and to draw samples."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[Any]


def string_hashes(text: pa.Array) -> Numbers:
    """Returns `(n,)` uint64 hashes, the same on every machine; 0 for the empty string and for null.

    Among a million strings, two share a hash with a chance of about one in ten million.

    Args:
        text: A string array.
    """
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    lengths = np.diff(ends)
    hashes = np.zeros(len(text), np.uint64)
    filled = np.flatnonzero(lengths)
    if not len(filled):
        return hashes
    letters = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]].astype(np.uint64) + np.uint64(1)
    place = np.arange(len(letters)) - np.repeat(ends[:-1] - ends[0], lengths)
    # The length is rounded up, so that few tables are made.
    letters *= _factors(1 << int(lengths.max() - 1).bit_length())[place]
    hashes[filled] = np.add.reduceat(letters, (ends[:-1] - ends[0])[filled])
    return mixed(hashes)


def mixed(numbers: Numbers) -> Numbers:
    """Returns uint64 with every bit spread over all: the last step of splitmix64, which maps 0 to 0."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


@lru_cache(maxsize=32)
def _factors(count: int) -> Numbers:
    """Returns an odd random factor for each place in a string; the first ones are the same for every count."""
    return np.random.default_rng(0).integers(2**63, size=count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
