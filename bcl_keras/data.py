"""The training stream: batches of rows into the feature table."""

from __future__ import annotations

from typing import Any, Literal, get_args

import keras
import numpy as np

from bcl_keras.checks import check_pairs
from bcl_keras.config import BCLConfig
from bcl_keras.fields import Array

Negatives = Literal["in_batch", "uniform"]
ContrastOver = Literal["warm", "catalogue", "none"]
PADDING = -1


class PairStream(keras.utils.PyDataset):
    """Draw pairs of similar songs, negatives and the contrastive batch, as row numbers.

    An anchor is drawn with probability proportional to `popularity ** anchor_power` among the songs that have pairs,
    its positive among its pairs in proportion to their weights. Every batch depends on `seed`, the epoch and its place
    alone, and `BCLModel.fit` sets the epoch. So a run that resumes with `initial_epoch` sees the same batches as one
    that was not interrupted.

    Args:
        pairs: `(anchors, positives, weights)`: any rows `(P,)`, rows of warm songs `(P,)`, similarities `(P,)` above 0.
        num_songs: Number of warm songs: rows 0 .. num_songs - 1.
        num_rows: Rows of the catalogue, with songs that are not candidates. Defaults to `num_songs`.
        batch_size: Pairs per batch, and songs in the contrastive batch; at least 2. Defaults to that of `BCLConfig`.
        steps_per_epoch: Batches in an epoch. Defaults to what covers the pairs once.
        popularity: Plays of each song, `(num_rows,)`. Needed if `anchor_power` is not 0.
        anchor_power: 0 draws anchors uniformly over songs, 1 as they are played. Defaults to 0.
        negatives: `"in_batch"` (the other pairs' positives), or `"uniform"`: `batch_size` warm songs drawn uniformly
            and shared by the batch. Defaults to `"in_batch"`.
        contrast_over: The contrastive batch's songs: `"warm"`, the whole `"catalogue"` with cold songs, or `"none"`.
            Drawn uniformly, never from the pairs (Yao et al., CIKM'21, call this critical). Defaults to `"warm"`.
        known_positives: Number of an anchor's strongest pairs that a batch has, so that they are not negatives.
            Defaults to 20.
        with_log_q: Whether to send the log-probability of each positive. Defaults to `False`.
        seed: Seed of all draws. Defaults to 0.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Returns:
        Batches `(dict,)` of int32 `anchor`, `positive` and `contrast` `(batch_size,)`, `known_positives`
        `(batch_size, K)` padded with -1, and where asked for `negative` (int32), `positive_log_q` (float32).

    Raises:
        ValueError: If rows, weights or settings lie outside their range.

    Examples:
        >>> stream = PairStream(([0, 1, 2], [1, 0, 3], [0.9, 0.9, 0.4]), num_songs=4, batch_size=2)
        >>> len(stream)
        2
        >>> (batch,) = stream[0]
        >>> batch["anchor"].shape, batch["known_positives"].shape
        ((2,), (2, 20))
    """

    def __init__(
        self,
        pairs: tuple[Any, Any, Any],
        num_songs: int,
        *,
        num_rows: int | None = None,
        batch_size: int = BCLConfig.batch_size,
        steps_per_epoch: int | None = None,
        popularity: Any = None,
        anchor_power: float = 0.0,
        negatives: Negatives = "in_batch",
        contrast_over: ContrastOver = "warm",
        known_positives: int = 20,
        with_log_q: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_songs = num_songs
        self.num_rows = num_songs if num_rows is None else num_rows
        _check_settings(self.num_rows, num_songs, batch_size, negatives, contrast_over)
        anchors, positives, weights = check_pairs(pairs, self.num_rows, num_songs, "pairs")
        self._num_anchors = int(anchors.max()) + 1  # tables end here, although the catalogue may be longer
        self.batch_size, self.negatives, self.contrast_over = batch_size, negatives, contrast_over
        self.seed, self.epoch = seed, 0
        self.steps_per_epoch = steps_per_epoch or max(1, -(-len(anchors) // batch_size))
        self._index_pairs(anchors, positives, weights)
        self.anchor_probability = self._anchor_probability(popularity, anchor_power)
        self._anchor_cdf = np.cumsum(self.anchor_probability)
        self.known_positives = self._strongest(known_positives)
        self.with_log_q = with_log_q
        self.positive_probability = self._positive_probability()

    def _index_pairs(self, anchors: Array, positives: Array, weights: Array) -> None:
        """Sort pairs by anchor, strongest first, and keep where each anchor's pairs start."""
        order = np.lexsort((positives, -weights, anchors))
        self._anchors, self._positives = anchors[order], positives[order]
        self._weights = weights[order]
        self._cumulated = np.concatenate([[0.0], np.cumsum(self._weights)])
        counts = np.bincount(anchors, minlength=self._num_anchors)
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def _anchor_probability(self, popularity: Any, power: float) -> Array:
        has_pairs = (np.diff(self._starts) > 0).astype("float64")
        if power == 0.0:
            return np.asarray(has_pairs / has_pairs.sum())
        if popularity is None:
            raise ValueError(f"Argument `popularity` must be given for `anchor_power` other than 0. Received: {power}")
        plays = np.asarray(popularity, dtype="float64")
        if plays.shape != (self.num_rows,) or not (plays >= 0).all():
            raise ValueError(
                f"Argument `popularity` must hold {self.num_rows} numbers of at least 0. Received: shape {plays.shape}"
            )
        raised = np.where(has_pairs > 0, np.maximum(plays[: self._num_anchors], 1e-12) ** power, 0.0)
        return np.asarray(raised / raised.sum())

    def _strongest(self, count: int) -> Array:
        table = np.full((self._num_anchors, max(count, 0)), PADDING, dtype="int32")
        place = np.arange(len(self._anchors)) - self._starts[self._anchors]
        kept = place < count
        table[self._anchors[kept], place[kept]] = self._positives[kept]
        return table

    def _positive_probability(self) -> Array:
        totals = self._cumulated[self._starts[1:]] - self._cumulated[self._starts[:-1]]
        share = self._weights / totals[self._anchors] * self.anchor_probability[self._anchors]
        return np.bincount(self._positives, weights=share, minlength=self.num_songs)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[dict[str, Array]]:
        """Return one batch."""
        rng = np.random.default_rng((self.seed, self.epoch, index))
        anchors = self._draw_anchors(rng)
        positives = self._draw_positives(rng, anchors)
        batch = {"anchor": anchors, "positive": positives}
        if self.contrast_over != "none":
            batch["contrast"] = _draw_uniform(rng, self._contrast_rows, self.batch_size)
        if self.known_positives.shape[1]:
            batch["known_positives"] = self.known_positives[anchors]
        if self.negatives == "uniform":
            batch["negative"] = _draw_uniform(rng, self.num_songs, self.batch_size)
        if self.with_log_q:
            batch["positive_log_q"] = np.log(self.positive_probability[positives]).astype("float32")
        return ({name: rows if rows.dtype == np.float32 else rows.astype("int32") for name, rows in batch.items()},)

    @property
    def _contrast_rows(self) -> int:
        return self.num_rows if self.contrast_over == "catalogue" else self.num_songs

    def _draw_anchors(self, rng: np.random.Generator) -> Array:
        # One draw from each of `batch_size` equal shares of the distribution: most songs come at most twice. The fewer
        # accidental hits there are, the more negatives are left.
        places = (np.arange(self.batch_size) + rng.random(self.batch_size)) / self.batch_size
        rows = np.searchsorted(self._anchor_cdf, places * self._anchor_cdf[-1], side="right")
        return np.asarray(np.minimum(rows, self._num_anchors - 1))

    def _draw_positives(self, rng: np.random.Generator, anchors: Array) -> Array:
        low, high = self._cumulated[self._starts[anchors]], self._cumulated[self._starts[anchors + 1]]
        place = np.searchsorted(self._cumulated, low + rng.random(len(anchors)) * (high - low), side="right") - 1
        inside = np.clip(place, self._starts[anchors], self._starts[anchors + 1] - 1)
        return np.asarray(self._positives[inside])


class FollowEpochs(keras.callbacks.Callback):
    """Tell a stream which epoch its batches are drawn for.

    Args:
        stream: The training stream.

    Examples:
        >>> stream = PairStream(([0, 1], [1, 0], [1.0, 1.0]), num_songs=2, batch_size=2)
        >>> FollowEpochs(stream).on_epoch_begin(3)
        >>> stream.epoch
        3
    """

    def __init__(self, stream: PairStream) -> None:
        super().__init__()
        self.stream = stream

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the epoch before its first batch is drawn."""
        self.stream.epoch = epoch


def _draw_uniform(rng: np.random.Generator, rows: int, size: int) -> Array:
    """Draw rows without repeats while there are enough of them."""
    if rows <= size:
        return rng.integers(rows, size=size)
    drawn = np.unique(rng.integers(rows, size=2 * size))
    return rng.permutation(drawn)[:size] if len(drawn) >= size else rng.choice(rows, size, replace=False)


def _check_settings(num_rows: int, num_songs: int, batch_size: int, negatives: str, contrast_over: str) -> None:
    if num_rows < num_songs:
        raise ValueError(f"Argument `num_rows` must be at least {num_songs}, the warm songs. Received: {num_rows}")
    if batch_size < 2:
        raise ValueError(
            f"Argument `batch_size` must be at least 2: negatives come from the batch. Received: {batch_size}"
        )
    if negatives not in get_args(Negatives):
        raise ValueError(f"Argument `negatives` must be one of {get_args(Negatives)}. Received: {negatives!r}")
    if contrast_over not in get_args(ContrastOver):
        raise ValueError(
            f"Argument `contrast_over` must be one of {get_args(ContrastOver)}. Received: {contrast_over!r}"
        )
