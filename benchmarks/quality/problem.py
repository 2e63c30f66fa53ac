"""One split of a data set: what models may learn from, and the truth about held-out songs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.choices import Judge
from benchmarks.quality.encoding import Encoding, encode, unit_rows
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.contract.splits import NEW, VALIDATION, WARM, ColdSplit
from tfx_pipeline.models.config import MOST_SPARSE_SONGS, TrainingConfig

TRUTH_SIZES = (20, 50)
LEAST_LISTENERS = 3  # of a song that is a candidate or judged by
_BLOCK = 1024


@dataclass(frozen=True)
class Problem:
    """Songs split by a salt of the seed; plays of held-out songs are in `heard` alone, for judging.

    Attributes:
        data: The data set.
        seed: Of the split and of every row's initial state.
        split: (n,) str of every song.
        encoding: Every song's features as the models take them; learnt on warm songs.
        epochs: Most epochs of a trained row; None = as its settings say.
        shared: What several rows use and one of them computed.
    """

    data: DataSet
    seed: int
    split: np.ndarray
    encoding: Encoding
    epochs: int | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, data: DataSet, seed: int, epochs: int | None = None) -> Problem:
        """Splits the songs: 10 % validation, 10 % test, at least 3 listeners each."""
        rule = ColdSplit(salt=f"quality-{seed}", min_listeners=LEAST_LISTENERS)
        listeners = np.diff(data.plays.indptr)
        songs = zip(data.songs.tolist(), listeners.tolist(), strict=True)
        split = np.array([rule.assign(song, count) for song, count in songs])
        return cls(data, seed, split, encode(data, split == WARM), epochs)

    @cached_property
    def warm(self) -> np.ndarray:
        """Rows of the warm songs: the candidates, in this order everywhere."""
        return np.flatnonzero(self.split == WARM)

    def cold(self, name: str) -> np.ndarray:
        """Rows of the songs of split `val` or `test`."""
        return np.flatnonzero(self.split == name)

    @cached_property
    def validation_judge(self) -> Judge:
        """What every choice is made by: recall@50 of the 20 similar songs of the validation songs."""
        return Judge(self.similar_truth(self.cold(VALIDATION))[:, : TRUTH_SIZES[0]], k=50)

    @cached_property
    def sparse_songs(self) -> np.ndarray:
        """Rows of the sparse songs to learn from, as many as the pipeline takes.

        They have too few listeners to be candidates or judged, but content, and a listener in common with a warm song.
        """
        songs = np.flatnonzero(self.split == NEW)
        content = sum(block.getnnz(axis=1) for block in self.encoding.blocks(songs).values())
        shared = self.heard(songs) @ np.asarray(self.plays.sum(axis=0)).ravel()
        usable = songs[(content > 0) & (shared > 0)]
        most = min(int(TrainingConfig().sparse_per_warm * len(self.warm)), MOST_SPARSE_SONGS)
        return np.sort(np.random.default_rng(self.seed).permutation(usable)[:most])

    @cached_property
    def plays(self) -> sparse.csr_matrix:
        """(warm songs, users) float32, 1 for each song a user plays."""
        return _binary(self.data.plays[self.warm])

    def heard(self, songs: np.ndarray) -> sparse.csr_matrix:
        """(songs, users) of songs that are not warm. Those of held-out songs are truth, never an input."""
        return _binary(self.data.plays[songs])

    @cached_property
    def similarity(self) -> np.ndarray:
        """(warm, warm) float32 audience cosines, 0 on the diagonal."""
        unit = unit_rows(self.plays)
        cosines = np.asarray((unit @ unit.T).todense(), np.float32)
        np.fill_diagonal(cosines, 0.0)
        return cosines

    def similar_truth(self, songs: np.ndarray) -> np.ndarray:
        """(songs, 50) places of the warm songs of most similar audience, best first, -1 where there are fewer."""
        unit, found = unit_rows(self.plays), []
        for start in range(0, len(songs), _BLOCK):
            cosines = np.asarray((unit_rows(self.heard(songs[start : start + _BLOCK])) @ unit.T).todense())
            best = np.argsort(-cosines, axis=1, kind="stable")[:, : max(TRUTH_SIZES)]
            found.append(np.where(np.take_along_axis(cosines, best, axis=1) > 0, best, -1))
        return np.concatenate(found)


def _binary(plays: sparse.csr_matrix) -> sparse.csr_matrix:
    return (plays > 0).astype(np.float32)
