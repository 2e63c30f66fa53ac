"""The exported SavedModel: towers, feature transform and index of songs in one graph of stock TensorFlow ops.

TensorFlow Serving needs nothing else: no custom op, no Python of ours, and clients send raw features.

| signature | inputs | outputs |
| --- | --- | --- |
| `serving_default` | `examples`: string `(n,)`, serialized tf.Example | `embedding`: float32 `(n, d)` |
| `candidate` | `examples`, whose `song_id` says which plays to use | `embedding`: float32 `(n, d)`, as in the index |
| `match_examples` | `examples` | as `match`, with `BULK_MATCHES` songs |
| `embed` | the raw fields | `embedding`: float32 `(n, d)` |
| `match` | the raw fields, `k`: int32 `(n,)`, `exclude`: string `(n,)` | `song_ids`, `scores`: `(n, k)` |

The raw fields are one input each: category string `(n,)`, "" = missing; multi_category string `(n, l)`, padded with "";
number float32 `(n,)`, NaN = missing; vector float32 `(n, length)`, a row with NaN = missing. `k` is one number per song
because a batching server joins requests row by row: every row gets the largest `k` of its batch, at most one less than
the number of songs in the index. `exclude` is the id of a song that must not be returned, usually the song itself, or
"". `song_ids` are strings, `scores` float32 cosines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

# tensorflow_recommenders refuses to import without it; our own layers are Keras 3 either way.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import keras
import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

Tensors = dict[str, tf.Tensor]
#: Songs that `match_examples` returns for each song, if the index has as many.
BULK_MATCHES = 100


@dataclass(frozen=True)
class RawField:
    """A raw input of the served model. `length` is that of a vector, else 1."""

    name: str
    kind: str
    length: int = 1

    @property
    def dtype(self) -> tf.DType:
        return tf.string if self.kind in ("category", "multi_category") else tf.float32

    def tensor_spec(self) -> tf.TensorSpec:
        """Returns shape and dtype of the named input of `embed` and `match`."""
        shape = {"multi_category": [None, None], "vector": [None, self.length]}.get(self.kind, [None])
        return tf.TensorSpec(shape, self.dtype, name=self.name)

    def to_sparse(self, values: tf.Tensor) -> tf.SparseTensor:
        """Turns a named input into what parsing a tf.Example gives, which is what the feature transform takes."""
        matrix = values if self.kind in ("multi_category", "vector") else values[:, tf.newaxis]
        if self.dtype == tf.string:
            present = tf.not_equal(matrix, "")
        else:
            finite = tf.logical_not(tf.math.is_nan(matrix))
            present = tf.broadcast_to(tf.reduce_all(finite, axis=1, keepdims=True), tf.shape(matrix))
        indices = tf.where(present)
        return tf.SparseTensor(indices, tf.gather_nd(matrix, indices), tf.shape(matrix, out_type=tf.int64))


class ServedModel(tf.Module):
    """What `export` saves. Kept apart so that the signatures can be read, and called, before they are saved.

    Args:
        fields: The raw fields.
        transform: Turns raw fields (sparse tensors by name) into the towers' inputs. A trackable layer.
        song_tower: Keras model from the towers' inputs to a content embedding.
        candidate_tower: Keras model from the towers' inputs and `song_index` to a candidate embedding.
        warm_ids: Ids of the songs that the candidate tower knows, in the order of its `song_index` 1, 2, ...
        index_ids: Ids of the songs in the index.
        index_embeddings: `(number of index_ids, d)` float32.
    """

    def __init__(
        self,
        *,
        fields: Sequence[RawField],
        transform: Callable[[Mapping[str, tf.SparseTensor]], Tensors],
        song_tower: keras.Model,
        candidate_tower: keras.Model,
        warm_ids: Sequence[str],
        index_ids: Sequence[str],
        index_embeddings: np.ndarray,
    ) -> None:
        super().__init__(name="served_model")
        self._fields = tuple(fields)
        self._transform = transform
        self._song_tower = song_tower
        self._candidate_tower = candidate_tower
        # A session restores only what tf.Module tracks, and it does not look into Keras 3 models.
        self._variables = [v.value for model in (song_tower, candidate_tower) for v in model.variables]
        self._song_index = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(list(warm_ids)), tf.range(1, len(warm_ids) + 1)), 0
        )
        self._index = tfrs.layers.factorized_top_k.BruteForce().index(
            tf.constant(index_embeddings, tf.float32), tf.constant(list(index_ids))
        )
        self._size = len(index_ids)

    def signatures(self) -> dict[str, Callable[..., Tensors]]:
        """Returns the concrete functions by signature name."""
        examples = tf.TensorSpec([None], tf.string, name="examples")
        raw = {field.name: field.tensor_spec() for field in self._fields}
        per_song = {
            "k": tf.TensorSpec([None], tf.int32, name="k"),
            "exclude": tf.TensorSpec([None], tf.string, name="exclude"),
        }
        return {
            "serving_default": tf.function(self.embed_examples).get_concrete_function(examples),
            "candidate": tf.function(self.embed_candidates).get_concrete_function(examples),
            "match_examples": tf.function(self.match_examples).get_concrete_function(examples),
            "embed": tf.function(self.embed).get_concrete_function(raw),
            "match": tf.function(self.match).get_concrete_function({**raw, **per_song}),
        }

    def embed_examples(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and embeds their content."""
        return {"embedding": self._song_tower(self._inputs(self._parse(examples)), training=False)}

    def embed_candidates(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and embeds them as candidates: content, and what the plays of known songs said."""
        inputs = self._inputs(self._parse(examples))
        parsed = tf.io.parse_example(examples, {"song_id": tf.io.FixedLenFeature([], tf.string, default_value="")})
        inputs["song_index"] = self._song_index.lookup(parsed["song_id"])
        return {"embedding": self._candidate_tower(inputs, training=False)}

    def embed(self, raw: Tensors) -> Tensors:
        """Embeds the content of songs given by their raw fields."""
        sparse = {field.name: field.to_sparse(raw[field.name]) for field in self._fields}
        return {"embedding": self._song_tower(self._inputs(sparse), training=False)}

    def match_examples(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and returns the songs of the index most similar to each, best first."""
        scores, ids = self._index(self.embed_examples(examples)["embedding"], k=min(BULK_MATCHES, self._size))
        return {"song_ids": ids, "scores": scores}

    def match(self, raw: Tensors) -> Tensors:
        """Returns the songs of the index most similar to songs given by their raw fields, best first."""
        queries = self.embed({field.name: raw[field.name] for field in self._fields})["embedding"]
        k = tf.clip_by_value(tf.reduce_max(raw["k"]), 1, max(self._size - 1, 1))
        scores, ids = self._index.query_with_exclusions(queries, raw["exclude"][:, tf.newaxis], k=k)
        return {"song_ids": ids, "scores": scores}

    def _parse(self, examples: tf.Tensor) -> dict[str, tf.SparseTensor]:
        return tf.io.parse_example(examples, {field.name: tf.io.VarLenFeature(field.dtype) for field in self._fields})

    def _inputs(self, sparse: Mapping[str, tf.SparseTensor]) -> Tensors:
        inputs = self._transform(dict(sparse))
        return {field.name: _tower_input(inputs[field.name], is_ids=field.dtype == tf.string) for field in self._fields}


def _tower_input(value: tf.Tensor | tf.SparseTensor, *, is_ids: bool) -> tf.Tensor:
    """Pads ids with 0, which means missing to the towers."""
    dense = tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value
    return tf.cast(dense, tf.int32) if is_ids else dense


def export(model: ServedModel, path: str) -> None:
    """Saves `model` at `path` as a SavedModel; written aside and renamed, so that `path` is whole or absent."""
    aside = f"{path.rstrip(os.sep)}.writing"
    tf.saved_model.save(model, aside, signatures=model.signatures())
    os.rename(aside, path)
