"""The songs that a model is fitted on: those it learns from, what they are similar to, and those it is judged by."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_transform as tft

from bcl_keras.fields import Array
from tfx_pipeline import contract
from tfx_pipeline.contract.splits import NEW, VALIDATION, WARM
from tfx_pipeline.models.config import MOST_SPARSE_SONGS, VALIDATION_TRUTH
from tfx_pipeline.models.song_table import NoSongsError, SongTable, read_song_table, split_uris, stack

_MOST_VALIDATION_SONGS = 2000


@dataclasses.dataclass(frozen=True)
class TrainingSongs:
    """What training works on.

    Attributes:
        warm: The songs to learn from and to retrieve.
        sparse: New songs that some listener plays, to learn from: in a row's number they follow the warm ones.
        validation: Songs held out for choices.
    """

    warm: SongTable
    sparse: SongTable
    validation: SongTable

    @property
    def num_learnt(self) -> int:
        """Number of songs to learn from."""
        return len(self.warm) + len(self.sparse)

    def learnt_features(self) -> dict[str, Array]:
        """Returns field name to array of one row per song to learn from."""
        return {name: stack([rows, self.sparse.features[name]]) for name, rows in self.warm.features.items()}


def read_songs(
    fn_args: Any,
    transform: tft.TFTransformOutput,
    song_fields: Sequence[contract.SongField],
    sparse_per_warm: float,
) -> TrainingSongs:
    """Returns the songs to learn from and those held out for choices.

    If the latter have no files, there are none. Only sparse songs with a similar warm song count. If there are more
    than `sparse_per_warm` for every warm song, or more than `MOST_SPARSE_SONGS`, a sample is drawn.
    """

    def read(patterns: Sequence[str], split: str, most_similar: int | None = None) -> SongTable:
        uris = split_uris(os.path.dirname(os.path.dirname(patterns[0])), [split])  # TFX gives <uri>/Split-<name>/*
        return read_song_table(uris, transform, song_fields, most_similar=most_similar)

    warm = read(fn_args.train_files, WARM)
    sparse = warm.take(np.arange(0))
    if most := min(int(sparse_per_warm * len(warm)), MOST_SPARSE_SONGS):
        with contextlib.suppress(NoSongsError):
            sparse = read(fn_args.train_files, NEW, most)
    return TrainingSongs(
        warm, sparse, read(fn_args.eval_files, VALIDATION) if fn_args.eval_files else warm.take(np.arange(0))
    )


def validation_truth(songs: TrainingSongs) -> tuple[dict[str, Array], Array]:
    """Returns the features of validation songs, and rows of the warm songs that they should find, -1 for none.

    If there are more than `_MOST_VALIDATION_SONGS`, a sample is taken: choices need no more, and each song is ranked
    against all.
    """
    warm, validation = songs.warm, songs.validation
    count = len(validation)
    sample = np.sort(np.random.default_rng(0).permutation(count)[:_MOST_VALIDATION_SONGS])
    features = {name: values[sample] for name, values in validation.features.items()}
    return features, warm.rows_of(validation.similar_ids[sample, :VALIDATION_TRUTH])


def similar_pairs(songs: TrainingSongs, positives: int | None = None) -> tuple[Array, Array, Array]:
    """Returns rows of anchors, warm songs first and sparse ones after them, rows of positives, and audience cosines.

    Args:
        songs: The songs to learn from.
        positives: Most pairs of an anchor, the strongest. Defaults to all.

    Raises:
        ValueError: If no two warm songs share listeners beyond chance.
    """
    warm = songs.warm
    ids, scores = (
        stack((getattr(part, name) for part in (warm, songs.sparse)), positives)
        for name in ("similar_ids", "similar_scores")
    )
    rows = warm.rows_of(ids)
    anchors, places = np.nonzero(rows >= 0)
    if not (anchors < len(warm)).any():
        raise ValueError(
            "plays: expected warm songs that share listeners more often than by chance, to learn from. "
            f"Received: none among {len(warm)} warm songs"
        )
    return anchors, rows[anchors, places], scores[anchors, places]
