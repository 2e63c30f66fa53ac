"""Runs of rows, so that products of many songs fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

from bcl_keras.fields import Array

#: Songs of a block in products of many songs with the landmarks.
ROWS = 2048


def in_blocks(rows: Array) -> Iterator[Array]:
    """Yield `rows` in runs of bounded length."""
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))
