"""Recognises columns of strings that are free text rather than categories."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.contract.hashing import Numbers, string_hashes

_MOST_KEPT = 200_000


class FreeText:
    """Tells free text from a category, batch by batch, in memory that is bounded.

    A column is taken for free text if it has at least 20 values, at least 90 % of them differ (300 songs with 270
    texts), and their mean length is at least 30 characters. If more than 200,000 values differ, a sample of them is
    counted. It is drawn by a hash, and each value in it with all its occurrences.
    """

    LEAST_VALUES = 20
    LEAST_DIFFERENT = 0.9
    LEAST_LENGTH = 30

    def __init__(self) -> None:
        self._values = self._characters = 0
        self._bound = 2**64
        self._hashes, self._counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)

    def add(self, text: pa.Array) -> None:
        """Takes a batch of strings into account; null is not a value."""
        text = text.drop_null()
        if not len(text):
            return
        self._values += len(text)
        self._characters += int(pc.sum(pc.utf8_length(text)).as_py())
        new = string_hashes(text)
        self._hashes, place = np.unique(np.concatenate([self._hashes, new[self._below(new)]]), return_inverse=True)
        weights = np.ones(len(place), np.int64)
        weights[: len(self._counts)] = self._counts
        self._counts = np.bincount(place, weights).astype(np.int64)
        while len(self._hashes) > _MOST_KEPT:
            self._bound //= 2
            below = self._below(self._hashes)
            self._hashes, self._counts = self._hashes[below], self._counts[below]

    def _below(self, hashes: Numbers) -> Numbers:
        return hashes <= np.uint64(self._bound - 1)

    @property
    def different(self) -> float:
        """Number of different values divided by the number of values."""
        return len(self._hashes) / max(int(self._counts.sum()), 1)

    def note(self, name: str) -> str | None:
        """Returns a note if the column looks like free text, else None."""
        if self._values < self.LEAST_VALUES:
            return None
        different, length = self.different, self._characters / self._values
        if different < self.LEAST_DIFFERENT or length < self.LEAST_LENGTH:
            return None
        return (
            f"{name}: {different:.0%} of the values differ and are long ({length:.0f} characters on average). "
            "This looks like free text, not like a category. A value of one song alone says nothing about other songs. "
            "Leave the column out, carry it without the prefix for display, or give a vector of numbers made from the "
            "text."
        )
