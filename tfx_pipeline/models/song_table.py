"""Transformed songs as numpy columns: what training and evaluation work on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.ids import SONG_ID, Ids, compact, lookup
from tfx_pipeline.contract.splits import unit_hash
from tfx_pipeline.models import features

Array = npt.NDArray[Any]
_BATCH = 4096
_SAMPLE_SALT = "sample of songs"


class NoSongsError(ValueError):
    """There is no song to make a table of."""


@dataclass(frozen=True)
class SongTable:
    """Songs sorted by id.

    Attributes:
        ids: `(n,)` bytes, as `tfx_pipeline.contract.ids` has them.
        splits: `(n,)` str, the split of each song.
        features: Arrays by field name, in the form that bcl_keras takes.
        listeners: `(n,)` int64, number of distinct listeners.
        similar_ids: `(n, m)` bytes, the warm songs of most similar audience, best first, padded with b"".
        similar_scores: `(n, m)` float32, their audience cosines, padded with 0.
    """

    ids: Ids
    splits: Array
    features: dict[str, Array]
    listeners: Array
    similar_ids: Ids
    similar_scores: Array

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Array) -> SongTable:
        """Returns the songs at `rows`: integer positions or a boolean mask."""
        return SongTable(
            self.ids[rows],
            self.splits[rows],
            {name: column[rows] for name, column in self.features.items()},
            self.listeners[rows],
            self.similar_ids[rows],
            self.similar_scores[rows],
        )

    def rows_of(self, ids: Ids) -> Array:
        """Returns the row of each id, -1 for ids that are not here. Any shape."""
        return lookup(ids, self.ids)


def read_song_table(
    split_uris: Mapping[str, str],
    transform: tft.TFTransformOutput,
    fields: Sequence[SongField],
    *,
    most_similar: int | None = None,
) -> SongTable:
    """Reads transformed examples.

    Args:
        split_uris: Folder of TFRecord files by name of split.
        transform: The transform output that wrote them.
        fields: The song fields.
        most_similar: Reads at most so many of the songs that have similar songs, drawn by a hash of their ids. Memory
            holds at most twice as many and a batch. Defaults to `None`, all songs.

    Returns:
        The songs of these splits.

    Raises:
        NoSongsError: If there is no song.
    """
    spec = transform.transformed_feature_spec()
    found = ((split, batch) for split, uri in split_uris.items() for batch in _batches(uri, spec))
    parts = list(found) if most_similar is None else _sample(found, most_similar)
    if not parts:
        raise NoSongsError(f"no song in any of the splits {', '.join(split_uris)}")

    def column(name: str) -> Array:
        return stack(batch[name] for _, batch in parts)

    ids = compact(column(SONG_ID))
    order = np.argsort(ids, kind="stable")
    table = SongTable(
        ids=ids,
        splits=np.concatenate([np.full(len(batch[SONG_ID]), split) for split, batch in parts]),
        features={field.name: _model_array(column(field.name), field) for field in fields},
        listeners=column(features.LISTENERS)[:, 0],
        similar_ids=compact(column(features.SIMILAR_IDS)),
        similar_scores=column(features.SIMILAR_SCORES).astype(np.float32),
    )
    return table.take(order)


def split_uris(examples_uri: str, splits: Iterable[str]) -> dict[str, str]:
    """Returns the folder of each split of an Examples artifact."""
    return {split: os.path.join(examples_uri, f"Split-{split}") for split in splits}


def _batches(uri: str, spec: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    files = sorted(tf.io.gfile.glob(os.path.join(uri, "*.gz")))
    known: dict[bytes, bytes] = {}
    for records in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_BATCH):
        parsed = tf.io.parse_example(records, spec)
        dense = {
            name: tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value
            for name, value in parsed.items()
        }
        yield {name: _shared(value.numpy(), known) for name, value in dense.items()}


def _sample(parts: Iterable[tuple[str, dict[str, Array]]], most: int) -> list[tuple[str, dict[str, Array]]]:
    """Returns the songs with the lowest draws among those with similar songs, in any order of the input."""
    kept: list[tuple[str, dict[str, Array]]] = []
    draws: list[Array] = []

    def cut() -> None:
        together = np.concatenate(draws)
        if len(together) > most:
            limit = np.partition(together, most)[most]
            kept[:] = [(split, _take(batch, own < limit)) for (split, batch), own in zip(kept, draws, strict=True)]
            draws[:] = [own[own < limit] for own in draws]

    for split, batch in parts:
        useful = _take(batch, (batch[features.SIMILAR_IDS] != b"").any(axis=1))
        kept.append((split, useful))
        draws.append(np.array([unit_hash(song, _SAMPLE_SALT) for song in useful[SONG_ID].tolist()]))
        if sum(map(len, draws)) > 2 * most:
            cut()
    if kept:
        cut()
    return [part for part, own in zip(kept, draws, strict=True) if len(own)]


def _take(batch: dict[str, Array], rows: Array) -> dict[str, Array]:
    return {name: column[rows] for name, column in batch.items()}


def _shared(values: Array, known: dict[bytes, bytes]) -> Array:
    """Returns ids, equal ones as one object, because a song is in the lists of many others."""
    if values.dtype != object:
        return values
    shared = np.empty(values.size, object)
    shared[:] = [known.setdefault(value, value) for value in values.ravel().tolist()]
    return shared.reshape(values.shape)


def stack(batches: Iterable[Array], most: int | None = None) -> Array:
    """Returns batches of lists as one array, padded with zeros or b"".

    Args:
        batches: The batches, of any length of their lists.
        most: How many values of a list are kept. Defaults to all.
    """
    parts = list(batches)
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    width = width if most is None else min(width, most)
    # Not np.pad, which fills bytes with b"0": that may be the id of a song.
    dtype = np.result_type(*parts)
    stacked = np.full((sum(map(len, parts)), width), b"" if dtype.kind in "SO" else 0, dtype)
    start = 0
    for part in parts:
        cut = part[:, :width]
        stacked[start : start + len(part), : cut.shape[1]] = cut
        start += len(part)
    return stacked


def _model_array(values: Array, field: SongField) -> Array:
    return values.astype(np.int32 if field.is_categorical else np.float32)
