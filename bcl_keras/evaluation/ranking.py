"""Recall, NDCG and MRR of a ranking of candidates; equal scores are ranked by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bcl_keras.fields import Array

_POSITION_BITS = np.uint64(32)
_POSITION = np.uint64(0xFFFFFFFF)
_SIGN = np.uint32(1 << 31)
#: 128 MiB of them: beyond that, queries are ranked in parts.
_KEYS_AT_ONCE = 2**24


@dataclass(frozen=True)
class Rankings:
    """Where the relevant candidates of some queries stand. A query without any has no metrics: they are NaN.

    Attributes:
        hits: `(n, depth)` bool, whether the candidate at each of the first places is relevant.
        relevant: `(n,)` int, number of relevant candidates.
        first: `(n,)` int, place of the best relevant candidate, from 0; any number where there is none.
    """

    hits: Array
    relevant: Array
    first: Array

    @classmethod
    def of(cls, scores: Array, relevant: Array, depth: int) -> Rankings:
        """Return the rankings of some queries.

        Args:
            scores: `(n, m)`, larger is better; compared in float32.
            relevant: `(n, m)` bool.
            depth: Places that are looked at, at least 1.

        Raises:
            ValueError: If a score is not finite.
        """
        rows = max(1, _KEYS_AT_ONCE // max(1, scores.shape[1]))
        starts = range(0, max(1, len(scores)), rows)
        return cls.joined([cls._of_block(scores[s : s + rows], relevant[s : s + rows], depth) for s in starts])

    @classmethod
    def _of_block(cls, scores: Array, relevant: Array, depth: int) -> Rankings:
        keys = ranking_keys(scores)
        depth = min(depth, keys.shape[1])
        best = np.sort(np.partition(keys, depth - 1, axis=1)[:, :depth], axis=1)
        hits = np.take_along_axis(relevant, (best & _POSITION).astype(np.int64), axis=1)
        best_relevant = np.where(relevant, keys, np.iinfo(np.uint64).max).min(axis=1, keepdims=True)
        return cls(hits, relevant.sum(axis=1), (keys < best_relevant).sum(axis=1))

    @classmethod
    def joined(cls, parts: Sequence[Rankings]) -> Rankings:
        """Return the rankings of all parts, one after the other."""
        hits, relevant, first = zip(*((part.hits, part.relevant, part.first) for part in parts), strict=True)
        return cls(np.concatenate(hits), np.concatenate(relevant), np.concatenate(first))

    def __getitem__(self, rows: Array) -> Rankings:
        return Rankings(self.hits[rows], self.relevant[rows], self.first[rows])

    def __len__(self) -> int:
        return len(self.relevant)

    def recall(self, k: int) -> Array:
        """Return the share of a query's relevant candidates among its first `k`, `(n,)`."""
        return np.asarray(self.hits[:, :k].sum(axis=1) / self._known())

    def ndcg(self, k: int) -> Array:
        """Return the normalised discounted gain of a query's first `k` candidates, `(n,)`.

        A relevant candidate at place r, from 0, gains `1 / log2(r + 2)`. The ideal list starts with as many relevant
        candidates as there are.
        """
        shown = min(k, self.hits.shape[1])
        discount = 1 / np.log2(np.arange(2, shown + 2))
        ideal = np.cumsum(discount)[np.clip(self.relevant, 1, shown) - 1]
        return np.asarray(self.hits[:, :shown] @ discount / np.where(self.relevant > 0, ideal, np.nan))

    def reciprocal_rank(self) -> Array:
        """Return one over the place, from 1, of a query's best relevant candidate, `(n,)`."""
        return np.where(self.relevant > 0, 1 / (1 + self.first), np.nan)

    def _known(self) -> Array:
        return np.where(self.relevant > 0, self.relevant.astype(float), np.nan)


def relevant_mask(positions: Array, candidates: int) -> Array:
    """Return `(n, candidates)` bool from `(n, P)` positions of the relevant candidates, padded with -1."""
    mask = np.zeros((len(positions), candidates), bool)
    row, column = np.nonzero(positions >= 0)
    mask[row, positions[row, column]] = True
    return mask


def ranking_keys(scores: Array) -> Array:
    """Return `(n, m)` uint64 keys whose ascending order is the ranking.

    A key has the inverted score above and the position below. Unique integers can be partitioned where scores with
    ties would have to be sorted whole, which takes three times as long.

    Args:
        scores: `(n, m)`, larger is better; compared in float32.

    Raises:
        ValueError: If a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: expected finite numbers. Received: {np.sum(~np.isfinite(scores))} that are not")
    bits = (scores.astype(np.float32) + np.float32(0)).view(np.int32)  # -0 becomes 0
    # Negative floats descend as integers, so all their bits are flipped; of other floats the sign bit alone.
    ascending = bits.view(np.uint32) ^ ((bits >> 31).view(np.uint32) | _SIGN)
    return (~ascending).astype(np.uint64) << _POSITION_BITS | np.arange(scores.shape[1], dtype=np.uint64)
