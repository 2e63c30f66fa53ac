"""The base of all models that embed songs by their fields: checked input, prediction and export."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import SONG_INDEX, check_features, is_given_as_arrays
from bcl_keras.fields import Array, Field, blocks_of

Tensor = Any

#: Name of the part of a score that is of no block alone.
REST = "rest"

# Packages that write a SavedModel.
_WRITERS = {"tensorflow": ("tensorflow",), "jax": ("tensorflow",), "torch": ("tensorflow", "torch_xla")}


class SongModel(keras.Model):
    """Base of models that embed songs by their features, as queries or as candidates.

    A subclass has `fields`, `num_songs`, `embedding_dim`, `embed_features` and `block_parts`. Arrays and lists are
    checked before they are computed with. Tensors and data sets are not.

    Examples:
        >>> class Tempo(SongModel):
        ...     fields, num_songs, embedding_dim = (Field("tempo", "number"),), 2, 1
        ...     def embed_features(self, features):
        ...         return features["tempo"][:, None]
        >>> Tempo().embed_songs({"tempo": [0.5, 1.0]}).tolist()
        [[0.5], [1.0]]
    """

    fields: tuple[Field, ...]
    num_songs: int
    embedding_dim: int

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model; see `call`."""
        return super().__call__(self._checked(inputs), *args, **kwargs)

    def call(self, features: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Embed songs by their features; see `embed_features`."""
        return self.embed_features(features)

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs, `(n, embedding_dim)` float32, inside a graph too.

        Args:
            features: Tensors by field. With `song_index` `(n,)` among them songs are embedded as candidates, else as
                queries.
        """
        raise NotImplementedError

    def embed_songs(self, songs: Any, *, candidate: bool = False, batch_size: int = 4096) -> Array:
        """Return the embeddings of songs as an array.

        Args:
            songs: Field name to array, one row per song. For candidates `song_index` may stand among them:
                1 .. num_songs for a warm song. Without it songs count as new: their plays are not known.
            candidate: Whether to embed candidates. Defaults to `False`, queries.
            batch_size: Songs per step. Defaults to 4096.

        Returns:
            `(n, embedding_dim)` float32.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, or queries have a `song_index`.
        """
        features = check_features(self.fields, songs, self.num_songs if candidate else None)
        count = len(next(iter(features.values())))
        if candidate:
            features.setdefault(SONG_INDEX, np.zeros(count, "int32"))

        def embed(rows: Array) -> Tensor:
            return self.embed_features({name: ops.convert_to_tensor(values[rows]) for name, values in features.items()})

        return self._in_batches(embed, np.arange(count), batch_size)

    def _in_batches(self, embed: Callable[[Array], Tensor], rows: Array, batch_size: int) -> Array:
        blocks = [embed(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        arrays = [np.asarray(ops.convert_to_numpy(block)) for block in blocks]
        return np.concatenate(arrays) if arrays else np.zeros((0, self.embedding_dim), "float32")

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Embed songs by their features in batches; arguments and result are those of every Keras model.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, or rows differ in number.
        """
        x = self._checked_features(x)
        if is_given_as_arrays(x) and not len(next(iter(x.values()))):
            return np.zeros((0, self.embedding_dim), "float32")  # Keras cannot predict nothing
        return keras.Model.predict(self._by_features(), x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Embed the songs of one batch, checked as in `predict`."""
        return keras.Model.predict_on_batch(self._by_features(), self._checked_features(x))

    def _by_features(self) -> keras.Model:
        """Return the Keras model whose `call` embeds songs by their features."""
        return self

    def _checked(self, inputs: Any) -> Any:
        """Return the inputs of `call`, checked if they are given as arrays."""
        return self._checked_features(inputs)

    def _checked_features(self, features: Any) -> Any:
        return check_features(self.fields, features, self.num_songs) if is_given_as_arrays(features) else features

    @property
    def part_names(self) -> tuple[str, ...]:
        """Names of the parts of a query: its blocks of fields (`bcl_keras.fields.blocks_of`), then `REST`.

        Raises:
            ValueError: If a field has the name of the rest.
        """
        names = tuple(blocks_of(self.fields))
        if REST in names:
            raise ValueError(f"Argument `fields` must have no field {REST!r}. Received: {list(names)}")
        return (*names, REST)

    def query_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of queries as sums of parts, `(n, number of parts, embedding_dim)` float32.

        A score is an inner product with a candidate. So the product of each part is its share of the score, and the
        shares of a match add up to its score. The rest is what the blocks leave. A closed form leaves nothing. Towers
        leave the score of a song without any known field, and what three or more blocks do only together.

        Args:
            features: Tensors by field.
        """
        parts = self.block_parts(features)
        rest = ops.cast(self.embed_features(features), "float32") - ops.sum(parts, axis=1)
        return ops.concatenate([parts, rest[:, None]], axis=1)

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)` float32."""
        raise NotImplementedError

    def input_signature(self) -> dict[str, Any]:
        """Return the form of features for any number of songs: a `keras.InputSpec` by field."""
        return {
            field.name: keras.InputSpec(
                shape=(None, *field.layout.row_shape(field.size)), dtype=field.dtype, name=field.name
            )
            for field in self.fields
        }

    def export(
        self,
        filepath: str | Path,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write the model as an artifact that embeds songs as queries without this library.

        Args:
            filepath: Where to write.
            format: As for every Keras model. Defaults to `"tf_saved_model"`.
            verbose: Whether to print what was written. Defaults to Keras's choice.
            input_signature: Defaults to the fields, any number of songs.
            **kwargs: As for every Keras model.

        Raises:
            ImportError: If a package that writes a SavedModel is not installed.
        """
        if format == "tf_saved_model":
            _check_writers()
        if not self.built:
            self.build()
        signature = [self.input_signature()] if input_signature is None else input_signature
        if format != "tf_saved_model" or keras.backend.backend() != "tensorflow":
            embedder = self._by_features()
            keras.Model.export(embedder, filepath, format=format, verbose=verbose, input_signature=signature, **kwargs)
            return
        # Keras would write all variables, the catalogue too. This writes those that the endpoint uses.
        archive = keras.export.ExportArchive()
        archive.add_endpoint("serve", self.embed_features, signature, **kwargs)
        archive.write_out(str(filepath), verbose=True if verbose is None else verbose)


def _check_writers() -> None:
    backend = keras.backend.backend()
    absent = [name for name in _WRITERS.get(backend, ()) if importlib.util.find_spec(name) is None]
    if absent:
        raise ImportError(
            f"Argument `format` 'tf_saved_model' on the {backend} backend must have packages to write with, "
            f"{' and '.join(_WRITERS[backend])}. Received: no {' and no '.join(absent)}"
        )
