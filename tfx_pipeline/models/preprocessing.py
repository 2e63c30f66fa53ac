"""The Transform step: vocabularies and scaling learned from warm songs, in one graph for training and serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from tfx_pipeline import contract
from tfx_pipeline.contract.ids import SONG_ID
from tfx_pipeline.models import features
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.tfx_extensions.components import settings_of

_NAN = float("nan")
#: Scaled numbers are clipped to this many standard deviations, so that one broken descriptor cannot dominate a song.
MAX_DEVIATIONS = 5.0


@dataclass(frozen=True)
class PreprocessingSettings:
    """What the Transform step is told.

    Attributes:
        fields: The song fields.
        transform: How vocabularies are made and lists are cut.
    """

    fields: tuple[contract.SongField, ...]
    transform: TransformConfig


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Returns the model's inputs for a batch of raw songs. Labels and id pass through.

    Args:
        inputs: Sparse tensors by feature name.
        custom_config: Holds `PreprocessingSettings`.

    Returns:
        category: int64 `(n,)`, 0 = missing or unknown. multi_category: sparse int64 without unknown values,
        cut at `max_values`.
        number: float32 `(n,)` and vector: float32 `(n, length)`, z-scored, NaN = missing.
    """
    outputs = {SONG_ID: tf.reshape(inputs[SONG_ID], [-1])}
    outputs.update({name: inputs[name] for name in features.LABELS})
    settings = settings_of(PreprocessingSettings, custom_config)
    fields, transform = settings.fields, settings.transform
    for field in (field for field in fields if field.is_categorical):
        ids = tft.compute_and_apply_vocabulary(
            _on_one_line(inputs[field.name]),
            top_k=transform.max_vocabulary,
            frequency_threshold=transform.min_frequency,
            vocab_filename=features.vocabulary_name(field),
        )
        known = _known(ids)
        outputs[field.name] = _first(known, transform.max_values) if field.is_list else _dense(known, 1)[:, 0]
    numeric = [field for field in fields if not field.is_categorical]
    return outputs | _scaled({field.name: _dense(inputs[field.name], field.length, _NAN) for field in numeric}, numeric)


def _scaled(columns: dict[str, tf.Tensor], fields: Sequence[contract.SongField]) -> dict[str, tf.Tensor]:
    """Returns the z-scores of `(n, length)` columns, ignoring NaN. One analyzer scales all: each takes seconds."""
    if not columns:
        return {}
    joined = tft.scale_to_z_score(tf.concat(list(columns.values()), axis=1), elementwise=True)
    clipped = tf.clip_by_value(joined, -MAX_DEVIATIONS, MAX_DEVIATIONS)
    parts = tf.split(clipped, [field.length for field in fields], axis=1)
    return {f.name: part if f.is_list else part[:, 0] for f, part in zip(fields, parts, strict=True)}


def _on_one_line(words: tf.SparseTensor) -> tf.SparseTensor:
    """Returns words with escaped line breaks. A vocabulary is a file of lines: TFT drops such words silently."""
    values = words.values
    for character, written in ((r"\\", r"\\\\"), ("\n", r"\\n"), ("\r", r"\\r")):
        values = tf.strings.regex_replace(values, character, written)
    return tf.SparseTensor(words.indices, values, words.dense_shape)


def _known(ids: tf.SparseTensor) -> tf.SparseTensor:
    """Returns ids from 1 on, so that 0 can mean missing, without values outside the vocabulary (-1)."""
    kept = tf.sparse.retain(ids, ids.values >= 0)
    return tf.SparseTensor(kept.indices, kept.values + 1, kept.dense_shape)


def _first(ids: tf.SparseTensor, most: int) -> tf.SparseTensor:
    """Returns the first `most` values of each row, moved to its beginning."""
    rows = ids.indices[:, 0]
    place = tf.range(tf.size(rows, tf.int64)) - tf.searchsorted(rows, rows, out_type=tf.int64)
    shape = tf.stack([ids.dense_shape[0], tf.minimum(ids.dense_shape[1], most)])
    moved = tf.SparseTensor(tf.stack([rows, place], axis=1), ids.values, ids.dense_shape)
    kept = tf.sparse.retain(moved, place < most)
    return tf.SparseTensor(kept.indices, kept.values, shape)


def _dense(sparse: tf.SparseTensor, length: int, missing: float = 0) -> tf.Tensor:
    """Returns a `(n, length)` tensor with `missing` in place of absent values."""
    shape = tf.stack([sparse.dense_shape[0], length])
    dense = tf.sparse.to_dense(
        tf.SparseTensor(sparse.indices, sparse.values, shape), default_value=tf.cast(missing, sparse.dtype)
    )
    return tf.ensure_shape(dense, [None, length])
