"""Typed blocks of rows, and how rows are picked, grouped and joined."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tfx_pipeline.columnar.hashing import shard_of

Array = npt.NDArray[Any]
Block = TypeVar("Block", bound="Rows")


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Base of blocks in which every column has one entry for each row, along its first axis.

    Subclasses are dataclasses whose fields are the columns, and say in `empty` what types these have.
    """

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def columns(self) -> tuple[Array, ...]:
        """The columns, in the order of the fields."""
        return tuple(getattr(self, field.name) for field in dataclasses.fields(self))

    @classmethod
    def empty(cls: type[Block]) -> Block:
        """Returns a block without rows."""
        raise NotImplementedError

    @classmethod
    def concatenate(cls: type[Block], blocks: Sequence[Block]) -> Block:
        """Returns the rows of all blocks, in their order.

        Args:
            blocks: Blocks whose columns agree in all axes but the first; none gives an empty block.
        """
        if not blocks:
            return cls.empty()
        return cls(*(np.concatenate(parts) for parts in zip(*(block.columns for block in blocks), strict=True)))

    def take(self: Block, rows: Array) -> Block:
        """Returns some of the rows.

        Args:
            rows: Their numbers, or a mask.
        """
        return type(self)(*(column[rows] for column in self.columns))

    def by_shard(self: Block, ids: Array, shards: int) -> Iterator[tuple[int, Block]]:
        """Yields the shards that hold rows, ascending, each with its rows.

        Args:
            ids: (n,) the id of each row, which decides its shard.
            shards: Number of shards.
        """
        for shard, rows in group_rows(shard_of(ids, shards)):
            yield shard, self.take(rows)


def group_rows(keys: Array) -> Iterator[tuple[int, Array]]:
    """Yields each key, ascending, with the numbers of its rows in their order.

    Args:
        keys: (n,) whole numbers, one for each row.
    """
    if len(keys) == 0:
        return
    order = np.argsort(keys, kind="stable")
    present, starts = np.unique(keys[order], return_index=True)
    yield from zip(present.tolist(), np.split(order, starts[1:]), strict=True)


def ranges(starts: Array, lengths: Array) -> Array:
    """Returns arange(start, start + length) of each pair, one after the other.

    Args:
        starts: (n,) first numbers.
        lengths: (n,) how many of each.
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)


def starts_of(lengths: Array) -> Array:
    """Returns where each list begins when lists of these lengths lie one after the other.

    Args:
        lengths: (n,) lengths.
    """
    return np.cumsum(lengths) - lengths


def smallest(values: Array, most: int) -> Array:
    """Returns a mask of the `most` smallest values; of equal ones the first.

    Args:
        values: (n,) numbers.
        most: How many.
    """
    mask = np.zeros(len(values), dtype=bool)
    mask[np.argsort(values, kind="stable")[:most]] = True
    return mask
