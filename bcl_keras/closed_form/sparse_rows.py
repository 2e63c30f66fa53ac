"""Products of a sparse matrix, in numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bcl_keras.fields import Array

_GATHERED = 16_384  # pairs gathered at once


class SparseRows:
    """A sparse matrix in coordinate form, rows ascending, that multiplies dense ones.

    Args:
        rows: `(n,)` ascending.
        columns: `(n,)`.
        values: `(n,)` float32.
        num_rows: Number of rows.
    """

    def __init__(self, rows: Array, columns: Array, values: Array, num_rows: int) -> None:
        self.rows, self.columns, self.values, self.num_rows = rows, columns, values, num_rows
        self._runs = list(self._padded_runs())

    def _padded_runs(self) -> Iterator[tuple[Array, Array, Array]]:
        """Yield rows of about the same number of values, their columns and values padded with 0 to the longest."""
        counts = np.bincount(self.rows, minlength=self.num_rows)
        starts = np.cumsum(counts) - counts
        by_count = np.argsort(counts, kind="stable")
        by_count = by_count[np.searchsorted(counts[by_count], 1) :]
        while len(by_count):
            # From the longest down, so that the first row of a run gives the padded length.
            run = by_count[max(0, len(by_count) - max(1, _GATHERED // int(counts[by_count[-1]]))) :]
            by_count = by_count[: len(by_count) - len(run)]
            place = np.arange(counts[run[-1]])
            known = place < counts[run][:, None]
            at = np.where(known, starts[run][:, None] + place, 0)
            yield run, self.columns[at], np.where(known, self.values[at], np.float32(0))[:, None, :]

    def __matmul__(self, dense: Array) -> Array:
        """Return the product, `(num_rows, d)` float32."""
        product = np.zeros((self.num_rows, dense.shape[1]), "float32")
        for rows, columns, values in self._runs:
            product[rows] = np.matmul(values, dense[columns])[:, 0]
        return product
