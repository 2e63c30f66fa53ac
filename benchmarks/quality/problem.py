"""One split of a data set: what models may learn from, and the truth about held-out songs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from bcl_keras.evaluation.choices import Judge
from benchmarks.quality.encoding import Encoding, encode, unit_rows
from benchmarks.splits import LAST, LEAST_LISTENERS, split_of
from benchmarks.targeting_study.datasets import DataSet, of_songs
from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM
from tfx_pipeline.datasets.sources import not_on_day_zero, read_sources
from tfx_pipeline.models.config import MOST_SPARSE_SONGS, TrainingConfig

__all__ = ["LEAST_LISTENERS", "TRUTH_SIZES", "Problem"]

TRUTH_SIZES = (20, 50)
#: What a song that nobody has tagged yet lacks, where the data set's folder does not say who wrote its fields.
DAY_ZERO_FIELDS = frozenset({"attribute_tags", "attribute_tag_words", "attribute_facts", "lyric_moods", "lyric_topics"})

_BLOCK = 1024


@dataclass(frozen=True)
class Problem:
    """One split; plays of held-out songs are in `heard` alone, for judging.

    Attributes:
        data: The data set, without the songs that this problem does not judge: the last tenth, as a rule.
        seed: Number of the split, and seed of every row's initial state.
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
    def of(cls, data: DataSet, seed: int, epochs: int | None = None, *, last_tenth: bool = False) -> Problem:
        """Splits the songs.

        Args:
            data: The data set.
            seed: Number of the split.
            epochs: Most epochs of a trained row; None = as its settings say.
            last_tenth: Whether the last tenth is judged in place of the split's test songs. Warm and validation songs
                are the same then. The other judged songs are taken out of the data, so that nothing can read them.

        Raises:
            ValueError: If a part has no songs.
        """
        parts = split_of(data.songs.tolist(), np.diff(data.plays.indptr), seed)
        judged, unused = (LAST, TEST) if last_tenth else (TEST, LAST)
        kept = np.flatnonzero(parts != unused)
        split = np.where(parts[kept] == judged, TEST, parts[kept])
        if missing := [name for name in (WARM, VALIDATION, TEST) if name not in split]:
            least = f"songs of {LEAST_LISTENERS} listeners or more in every part of split {seed}"
            raise ValueError(f"{data.name}: expected {least}. Received: none in {', '.join(missing)}")
        data = of_songs(data, kept)
        return cls(data, seed, split, encode(data, split == WARM), epochs)

    @cached_property
    def warm(self) -> np.ndarray:
        """Rows of the warm songs: the candidates, in this order everywhere."""
        return np.flatnonzero(self.split == WARM)

    def cold(self, name: str) -> np.ndarray:
        """Rows of the songs of split `val` or `test`."""
        return np.flatnonzero(self.split == name)

    @cached_property
    def withheld(self) -> frozenset[str]:
        """Fields that a song lacks on day zero: as the data set's `sources.json` says, or `DAY_ZERO_FIELDS`."""
        sources = read_sources(self.data.folder)
        late = DAY_ZERO_FIELDS if sources is None else not_on_day_zero(sources)
        return late & {field.name for field in self.encoding.fields}

    @cached_property
    def validation_judge(self) -> Judge:
        """What closed forms without a search are chosen by: recall@50 of the 20 similar songs of validation songs."""
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
        cosines = np.empty((len(self.warm), len(self.warm)), np.float32)
        for start in range(0, len(self.warm), _BLOCK):
            block = slice(start, start + _BLOCK)
            cosines[block] = self.audience_cosines(self.plays[block])
        np.fill_diagonal(cosines, 0.0)
        return cosines

    @cached_property
    def _unit_audiences(self) -> sparse.csc_matrix:
        return unit_rows(self.plays).T.tocsc()

    def audience_cosines(self, audiences: sparse.csr_matrix) -> np.ndarray:
        """Returns (n, warm) float32 cosines of some audiences, (n, users), with those of the warm songs."""
        return np.asarray((unit_rows(audiences) @ self._unit_audiences).todense(), np.float32)

    def similar_truth(self, songs: np.ndarray) -> np.ndarray:
        """(songs, 50) places of the warm songs of most similar audience, best first, -1 where there are fewer."""
        starts = range(0, max(1, len(songs)), _BLOCK)
        return np.concatenate([self.most_similar(self.heard(songs[start : start + _BLOCK])) for start in starts])

    def most_similar(self, audiences: sparse.csr_matrix) -> np.ndarray:
        """(n, 50) places of the warm songs whose audience is most similar, best first, -1 where there are fewer."""
        cosines = self.audience_cosines(audiences)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, : max(TRUTH_SIZES)]
        return np.where(np.take_along_axis(cosines, best, axis=1) > 0, best, -1)


def _binary(plays: sparse.csr_matrix) -> sparse.csr_matrix:
    return (plays > 0).astype(np.float32)
