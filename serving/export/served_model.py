"""The exported SavedModel: towers, feature transform and index of songs in one graph of stock TensorFlow ops.

TensorFlow Serving needs nothing else: no custom op, no Python of ours, and clients send raw features.

| signature | inputs | outputs |
| --- | --- | --- |
| `serving_default` | `examples`: string `(n,)`, serialized tf.Example | `embedding`: float32 `(n, d)` |
| `candidate` | `examples`; `song_id` chooses the plays to use | `embedding`: float32 `(n, d)`, as in the index |
| `match_examples` | `examples` | as `match`, with `BULK_MATCHES` songs; `song_ids` are strings always |
| `embed` | the raw fields | `embedding`: float32 `(n, d)` |
| `match` | the raw fields, `k`: int32 `(n,)`, `exclude`: an id `(n,)` | `song_ids`, `scores`: `(n, k)` |
| `match_unknown` | as `match` | as `match`, also for songs of which the model knows no field |
| `explain`, if asked for | as `match` | as `match`, with `shares` and `share_names` |
| `chance`, if fitted | as `match` | as `match`, with `chance`, `chance_low` and `chance_high`: `(n, k)` |

A request has at most `max_rows` rows of raw fields and `max_examples` tf.Examples. One with more ends the run with
INVALID_ARGUMENT before anything is made of it.

Every signature also gives `known_fields`: int32 `(n,)`, how many fields of the song the model knows. A number or a
vector is known if it is there, a category if the vocabulary has it, a multi_category if the vocabulary has one of its
words. A song with 0 is embedded like any song without values, so matches would not depend on it. `match` and `explain`
give it none. `match_examples` leaves that to its caller.

The raw fields are one input each: category string `(n,)`, "" = missing; multi_category string `(n, l)`, padded with "";
number float32 `(n,)`, NaN = missing; vector float32 `(n, length)`, a row with NaN = missing, another length is refused.
Ids are strings, or int64 of 0 or more, as the index was made. `k` is one number per song, from 1 to `MAX_MATCHES`: a
batching server joins requests row by row. All rows have as many places as the largest `k`, fewer where the index has
fewer songs. Places after a row's own `k` are blank: see `serving.export.matches`. `exclude` is the id of a song that
must not be returned, usually the song itself; "" or -1 excludes none.
`shares`, float32 `(n, k, parts)`, is what each part of a song gives to a score: the parts are blocks of fields and a
rest, named by `share_names`, string `(n, parts)`, and the shares of a match add up to its score. `match_examples` gives
them too, and `evidence` and `evidence_names`, where the model has them: see `serving.export.explanation`.
`chance`, float32, is how likely a match is among the songs of most similar audience, with its 95 % interval: see
`serving.export.chances`. Blank places have 0. `match_examples` gives it, too.
`scores` are float32 inner products of `embedding` with the index, best first; at most 1 where the model gives unit
vectors or shorter ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from serving.export.chances import MEAN_OF, ChanceScale, chances_of
from serving.export.explanation import SHARES, can_explain, evidence, shares
from serving.export.matches import MAX_MATCHES, blanked, filled_places, places, wanted
from serving.export.song_index import SongIndex
from serving.files.whole_files import put_folder
from serving.savedmodel.graph_checks import at_most_rows
from serving.savedmodel.raw_fields import KNOWN_FIELDS, SONG_ID, UNKNOWN_TOO, RawField, encode_song
from serving.savedmodel.warmup_requests import write_requests

__all__ = ["BULK_MATCHES", "MAX_MATCHES", "RawField", "ServedModel", "export"]

Tensors = dict[str, tf.Tensor]
#: Rows of a request of `embed`, `match` and `explain`, as of the embedded server.
MAX_ROWS = 1024
#: Rows of a request of tf.Examples. Evaluation runs them in Beam, whose largest batches these are.
MAX_EXAMPLES = 10_000
#: Songs that `match_examples` returns for each song, if the index has as many.
BULK_MATCHES = 100


class ServedModel(tf.Module):
    """What `export` saves. Kept apart so that the signatures can be read, and called, before they are saved.

    Args:
        fields: The raw fields.
        transform: Turns raw fields (sparse tensors by name) into the model's inputs, where an id of 0 and NaN mean that
            the model knows no value. A trackable layer.
        model: Keras model from the transform's outputs to the embedding of a song's content, and from these and
            `song_index` to a candidate embedding: by `embed_features` if it has one, else by its call.
        warm_ids: Ids of the songs whose plays the model knows, in the order of its `song_index` 1, 2, ...
        index_ids: Ids of the songs in the index: strings, or integers of 0 or more.
        index_embeddings: `(number of index_ids, d)` float32.
        explain: Whether there is a signature `explain`.
        max_rows: Rows of a request that takes the raw fields; 0 = any number.
        max_examples: Rows of a request that takes tf.Examples, which evaluation, refresh and other bulk work send, too;
            0 = any number.
        chances: Constants that turn scores into chances, for a signature `chance`. None for none.

    Raises:
        ValueError: If `explain` is set and the model cannot explain a score.
    """

    def __init__(
        self,
        *,
        fields: Sequence[RawField],
        transform: Callable[[Mapping[str, tf.SparseTensor]], Tensors],
        model: keras.Model,
        warm_ids: Sequence[str],
        index_ids: Sequence[str] | Sequence[int],
        index_embeddings: np.ndarray[Any, Any],
        explain: bool = False,
        max_rows: int = MAX_ROWS,
        max_examples: int = MAX_EXAMPLES,
        chances: ChanceScale | None = None,
    ) -> None:
        super().__init__(name="served_model")
        for name, most in (("max_rows", max_rows), ("max_examples", max_examples)):
            if most < 0:
                raise ValueError(f"`{name}` must be 0 or more. Received: {most}")
        self._max_rows, self._max_examples = max_rows, max_examples
        if explain and not can_explain(model):
            raise ValueError(f"`explain` needs a model with `query_parts`. Received: {type(model).__name__}")
        self._explains = explain
        self._chances = chances
        self._fields = tuple(fields)
        self._transform = transform
        self._model = model
        self._song_index = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(tf.constant(list(warm_ids)), tf.range(1, len(warm_ids) + 1)), 0
        )
        # `serving.refresh.saved_version` finds the index in a checkpoint by this name.
        self.index = SongIndex().index(tf.constant(index_embeddings, tf.float32), as_ids(index_ids))

    def signatures(self) -> dict[str, Callable[..., Tensors]]:
        """Returns the concrete functions by signature name."""
        examples = tf.TensorSpec([None], tf.string, name="examples")
        raw = {field.name: field.tensor_spec() for field in self._fields}
        per_song = {
            "k": tf.TensorSpec([None], tf.int32, name="k"),
            "exclude": tf.TensorSpec([None], self.index.id_dtype, name="exclude"),
        }
        functions = {
            "serving_default": _graph(self.embed_examples).get_concrete_function(examples),
            "candidate": _graph(self.embed_candidates).get_concrete_function(examples),
            "match_examples": _graph(self.match_examples).get_concrete_function(examples),
            "embed": _graph(self.embed).get_concrete_function(raw),
            "match": _graph(self.match).get_concrete_function({**raw, **per_song}),
            UNKNOWN_TOO["match"]: _graph(self.match_unknown).get_concrete_function({**raw, **per_song}),
        }
        if self._explains:
            functions["explain"] = _graph(self.explain).get_concrete_function({**raw, **per_song})
        if self._chances is not None:
            functions["chance"] = _graph(self.chance).get_concrete_function({**raw, **per_song})
        # A session restores only what tf.Module tracks, which does not include the variables of Keras 3 models.
        # Variables that no signature uses, such as the training songs, are left out.
        self._variables = list({id(v): v for f in functions.values() for v in f.variables}.values())
        return functions

    def warm_up(self) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Returns a small request per signature: a song without any value, and one with every value."""
        songs = [{}, {field.name: field.stand_in() for field in self._fields}]
        examples = {"examples": np.array([encode_song(song, self._fields) for song in songs], object)}
        raw = {field.name: field.to_array([song.get(field.name) for song in songs]) for field in self._fields}
        none = np.array(["", ""], object) if self.index.id_dtype == tf.string else np.full(2, -1, np.int64)
        match = {**raw, "k": np.full(2, 10, np.int32), "exclude": none}
        requests = {
            "serving_default": examples,
            "candidate": examples,
            "match_examples": examples,
            "embed": raw,
            "match": match,
            UNKNOWN_TOO["match"]: match,
        }
        asked_for = {"explain": self._explains, "chance": self._chances is not None}
        return requests | {name: match for name, has in asked_for.items() if has}

    def embed_examples(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and embeds their content."""
        return self._embedded(self._inputs(self._parse(examples)))

    def embed_candidates(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and embeds them as candidates: content, and for known songs their plays."""
        examples = self._bounded(examples)
        inputs = self._inputs(self._parse(examples))
        parsed = tf.io.parse_example(examples, {SONG_ID: tf.io.FixedLenFeature([], tf.string, default_value="")})
        inputs["song_index"] = self._song_index.lookup(parsed[SONG_ID])
        return self._embedded(inputs)

    def embed(self, raw: Tensors) -> Tensors:
        """Embeds the content of songs given by their raw fields."""
        return self._embedded(self._raw_inputs(raw))

    def match_examples(self, examples: tf.Tensor) -> Tensors:
        """Parses serialized songs and returns the songs of the index most similar to each, best first."""
        inputs = self._inputs(self._parse(examples))
        songs = self._embedded(inputs)
        most = tf.minimum(BULK_MATCHES, self.index.size())
        ids, scores, vectors = self.index.nearest_vectors(songs["embedding"], k=most)
        ids = ids if ids.dtype == tf.string else tf.strings.as_string(ids)
        reasons = shares(self._model, inputs, vectors) | evidence(self._model, inputs, scores)
        if self._chances is not None:
            reasons |= chances_of(self._chances, scores, songs[KNOWN_FIELDS])
        return {"song_ids": ids, "scores": scores, KNOWN_FIELDS: songs[KNOWN_FIELDS], **reasons}

    def match(self, raw: Tensors) -> Tensors:
        """Returns the songs of the index most similar to songs given by their raw fields, best first.

        A song of which the model knows no field gets none.
        """
        return self._match(raw, unknown_too=False)

    def match_unknown(self, raw: Tensors) -> Tensors:
        """Returns what `match` returns, but finds songs for a song without known fields, too: always the same ones."""
        return self._match(raw, unknown_too=True)

    def _match(self, raw: Tensors, *, unknown_too: bool) -> Tensors:
        songs, k = self.embed({field.name: raw[field.name] for field in self._fields}), wanted(raw["k"])
        count, known = places(k, self.index.size()), songs[KNOWN_FIELDS]
        ids, scores = self.index.nearest_but(songs["embedding"], raw["exclude"], k=count)
        filled = filled_places(k, None if unknown_too else known, count)
        return blanked(filled, ids, scores) | {KNOWN_FIELDS: known}

    def explain(self, raw: Tensors) -> Tensors:
        """Returns what `match` returns, and what each part of a song gives to each score."""
        inputs, k = self._raw_inputs(raw), wanted(raw["k"])
        songs, count = self._embedded(inputs), places(k, self.index.size())
        ids, scores, vectors = self.index.nearest_vectors_but(songs["embedding"], raw["exclude"], k=count)
        filled = filled_places(k, songs[KNOWN_FIELDS], count)
        reasons = shares(self._model, inputs, vectors)
        reasons[SHARES] = tf.where(filled[:, :, tf.newaxis], reasons[SHARES], 0.0)
        return blanked(filled, ids, scores) | {KNOWN_FIELDS: songs[KNOWN_FIELDS], **reasons}

    def chance(self, raw: Tensors) -> Tensors:
        """Returns what `match` returns, and how likely each match is right."""
        assert self._chances is not None
        songs, k = self.embed({field.name: raw[field.name] for field in self._fields}), wanted(raw["k"])
        size, known = self.index.size(), songs[KNOWN_FIELDS]
        count = places(k, size)
        # The chances need the mean of the best scores, however few are asked for.
        looked_at = tf.maximum(count, tf.minimum(MEAN_OF, size - 1))
        ids, scores = self.index.nearest_but(songs["embedding"], raw["exclude"], k=looked_at)
        filled = filled_places(k, known, count)
        found = chances_of(self._chances, scores, known)
        chances = {name: tf.where(filled, values[:, :count], 0.0) for name, values in found.items()}
        return blanked(filled, ids[:, :count], scores[:, :count]) | {KNOWN_FIELDS: known} | chances

    def _raw_inputs(self, raw: Tensors) -> Tensors:
        bounded = {field.name: at_most_rows(raw[field.name], field.name, self._max_rows) for field in self._fields}
        return self._inputs({field.name: field.to_sparse(bounded[field.name]) for field in self._fields})

    def _embedded(self, inputs: Tensors) -> Tensors:
        embed = getattr(self._model, "embed_features", self._model)
        known = [tf.cast(_is_known(field, inputs[field.name]), tf.int32) for field in self._fields]
        return {
            "embedding": embed(inputs),
            KNOWN_FIELDS: tf.ensure_shape(tf.add_n(known), [None]),
        }

    def _bounded(self, examples: tf.Tensor) -> tf.Tensor:
        return at_most_rows(examples, "examples", self._max_examples)

    def _parse(self, examples: tf.Tensor) -> dict[str, tf.SparseTensor]:
        parsed = tf.io.parse_example(
            self._bounded(examples), {field.name: tf.io.VarLenFeature(field.dtype) for field in self._fields}
        )
        return {field.name: field.checked_feature(parsed[field.name]) for field in self._fields}

    def _inputs(self, sparse: Mapping[str, tf.SparseTensor]) -> Tensors:
        inputs = self._transform(dict(sparse))
        return {field.name: _tower_input(inputs[field.name], is_ids=field.dtype == tf.string) for field in self._fields}


def _graph(function: Callable[..., Tensors]) -> tf.types.experimental.PolymorphicFunction:
    """Returns a graph function without AutoGraph: nothing here needs it, and it takes longer than all else."""
    return tf.function(tf.autograph.experimental.do_not_convert(function), autograph=False)


def as_ids(ids: Sequence[str] | Sequence[int]) -> tf.Tensor:
    """Returns ids as a tensor of strings or int64.

    Raises:
        ValueError: If an integer id is negative, since -1 means none.
    """
    tensor = tf.constant(list(ids), tf.string if not ids or isinstance(ids[0], str) else tf.int64)
    if tensor.dtype == tf.int64 and (smallest := int(tf.reduce_min(tensor))) < 0:
        raise ValueError(f"`index_ids` must be 0 or more where they are integers. Received: {smallest}")
    return tensor


def _tower_input(value: tf.Tensor | tf.SparseTensor, *, is_ids: bool) -> tf.Tensor:
    """Pads ids with 0, which means missing to the towers."""
    dense = tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value
    return tf.cast(dense, tf.int32) if is_ids else dense


def _is_known(field: RawField, values: tf.Tensor) -> tf.Tensor:
    """Returns which songs have the field after the transform, `(n,)` boolean, by the rule of the model's encoders."""
    if field.is_categorical:
        known = values > 0
        return tf.reduce_any(known, axis=1) if field.is_list else known
    missing = tf.math.is_nan(values)
    return tf.logical_not(tf.reduce_any(missing, axis=1) if field.is_list else missing)


def export(model: ServedModel, path: str) -> None:
    """Saves `model` at `path` as a SavedModel with warm-up requests.

    It is written aside and renamed, so that `path` is whole or absent.
    """
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ValueError(
            f"Keras's backend: expected tensorflow, whose operations a SavedModel holds. Received: {backend}. Set "
            "KERAS_BACKEND=tensorflow before Keras is imported."
        )
    aside = f"{path.rstrip(os.sep)}.writing"
    tf.saved_model.save(model, aside, signatures=model.signatures())
    write_requests(aside, model.warm_up())
    put_folder(aside, path)
