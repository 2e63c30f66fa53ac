"""Plain content cosines of a song with all warm songs, as products of short embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.blocks import in_blocks
from bcl_keras.checks import check_features, check_num_songs, check_validation
from bcl_keras.config import RidgeConfig
from bcl_keras.content.words import WordMatrix
from bcl_keras.evaluation.choices import Judge, candidate_pool, choose_block_weights, judged_songs
from bcl_keras.fields import Array, Field, as_fields, blocks_of, first_known
from bcl_keras.layers.content_vector import block_scales, unit_numbers
from bcl_keras.models.song_model import SongModel
from bcl_keras.ops.lists import first_values
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any

#: Signs that are kept as the bits of one whole number. Float32 holds it exactly, and every device reads float32.
SIGNS = 16
_HALVES = (0.5 ** np.arange(SIGNS)).astype("float32")
_MOST_CANDIDATES = 8192  # most candidates used to choose the weights of the blocks


@keras.saving.register_keras_serializable(package="bcl_keras")
class ContentSketch(SongModel):
    """Embed songs so that `x . y` is nearly `sum_b w_b cos_b(x, y)`, the weighted cosines of their blocks of fields.

    A closed form of few numbers forgets which album or artist a song has. A sketch keeps it: ids that two songs share
    count in full, and ids that they do not share hardly count.

    Every id, and every element of a vector, has a random direction of `dim` signs over `sqrt(dim)`. A block is the sum
    of its ids' directions, weighted by inverse document frequency; or of its elements' directions. Its vector before
    the projection has length one, and all blocks share one space. A missing value is zeros. Nothing is learned from
    plays but the weights of the blocks.

    The mean squared error of a product is at most `2 |x|^2 |y|^2 / dim`, with x and y before the projection. With 256
    numbers the error of a cosine is about .06 where songs share nothing. 16 signs are kept in one number, so a word
    takes 68 bytes on disk and not 1,024.

    Args:
        fields: `Field` objects or their dicts. Numbers should have mean 0 and deviation 1.
        num_songs: Number of warm songs.
        dim: Length of the embeddings, a multiple of 16. Defaults to 256.
        seed: Seed of the signs. Defaults to 0.

    Call arguments:
        features: Dict of field name to values, and optionally `"song_index"`, integers `(n,)`: 1 .. num_songs for a
            warm song, 0 for another one, whose candidate embedding is that of its content.

    Returns:
        Embeddings `(n, dim)` float32.

    Examples:
        >>> from bcl_keras import Field
        >>> fields = [Field("album", "category", 4), Field("tempo", "number")]
        >>> model = ContentSketch(fields, num_songs=3, dim=64)
        >>> songs = {"album": [1, 1, 2], "tempo": [0.5, -0.5, 0.1]}
        >>> model.adapt(songs, block_weights={"album": 1.0, "numbers": 0.0})["block_weights"]["album"]
        1.0
        >>> scores = model.embed_songs({"album": [1], "tempo": [0.2]}) @ model.warm_candidates().T
        >>> [round(float(score), 2) for score in scores[0, :2]]
        [1.0, 1.0]

    References:
        Achlioptas, Database-friendly random projections, JCSS 2003. Our choice; the paper has no such part.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        num_songs: int,
        dim: int = 256,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if dim < 1 or dim % SIGNS:
            raise ValueError(f"Argument `dim` must be a multiple of {SIGNS} above 0. Received: {dim}")
        self.fields, self.num_songs = as_fields(fields), check_num_songs(num_songs)
        self.dim, self.seed = dim, seed
        self.blocks = blocks_of(self.fields)

    @property
    def embedding_dim(self) -> int:  # type: ignore[override]
        """Length of an embedding."""
        return self.dim

    def build(self, input_shape: Any = None) -> None:
        """Draw the signs, and create what `adapt` fills; block weights are 1."""
        self.signs, self.idf = {}, {}
        for place, (name, block) in enumerate(self.blocks.items()):
            shape = (sum(field.size for field in block), self.dim // SIGNS)
            self.signs[name] = self._state(shape, f"signs_{place}")
            drawn = np.random.default_rng([self.seed, place]).integers(0, 2**SIGNS, shape)
            self.signs[name].assign(drawn.astype("float32"))
            if block[0].is_categorical:
                self.idf[name] = self._state(shape[:1], f"idf_{place}")
        self.scales = self._state((len(self.blocks),), "scales", "ones")
        self.songs = self._state((self.num_songs + 1, self.dim), "songs")

    def _state(self, shape: tuple[int, ...], name: str, initializer: str = "zeros") -> Any:
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=False, autocast=False, dtype="float32", name=name
        )

    def adapt(
        self,
        features: Mapping[str, Any],
        validation: tuple[Mapping[str, Any], Any] | None = None,
        k: int = 50,
        *,
        block_weights: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Learn how rare every id is, weigh the blocks, and keep the embeddings of the warm songs.

        Args:
            features: Field name to array of one row per song; the first `num_songs` rows are the warm songs, further
                rows count nowhere.
            validation: Features of other songs, and `(n, P)` rows of the warm songs they should retrieve, padded with
                -1. They choose the weights of the blocks. Without them and `block_weights` every block weighs 1.
            k: Length of the list judged. Defaults to 50.
            block_weights: Weight of every block, as an earlier call or `AudienceRidge.adapt` returned them. Nothing is
                chosen then.

        Returns:
            What was chosen: `block_weights`.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, there are fewer rows than warm songs,
                `block_weights` lack a block, or they are given with `validation`.
        """
        if block_weights is not None and validation is not None:
            raise ValueError(
                "Arguments `block_weights` and `validation` must not both be given: the first leaves no choice"
            )
        warm = self._warm(features)
        if validation is not None:
            validation = check_validation(self.fields, validation, self.num_songs)
        if not self.built:
            self.build()
        for name, idf in self.idf.items():
            (field,) = self.blocks[name]
            ids = first_known(field, warm[name].reshape(self.num_songs, -1))
            idf.assign(WordMatrix(ids, field.size).idf)
        judged = judged_songs(validation, np.random.default_rng(0))
        weights = dict(block_weights) if block_weights is not None else dict.fromkeys(self.blocks, 1.0)
        if judged is not None:
            weights = self._chosen_weights(warm, judged, k)
        self.scales.assign(block_scales(weights, self.blocks))
        songs = self.embed_songs(warm)
        self.songs.assign(np.concatenate([np.zeros((1, self.dim), "float32"), songs]))
        return {"block_weights": {name: float(weights[name]) for name in self.blocks}}

    def _warm(self, features: Mapping[str, Any]) -> dict[str, Array]:
        checked = check_features(self.fields, features)
        num_rows = len(next(iter(checked.values())))
        if num_rows < self.num_songs:
            raise ValueError(
                f"Argument `features` must hold at least {self.num_songs} warm songs. Received: {num_rows}"
            )
        return _rows(checked, np.arange(self.num_songs))

    def _chosen_weights(
        self, warm: Mapping[str, Array], judged: tuple[Mapping[str, Array], Array], k: int
    ) -> dict[str, float]:
        pool, places = candidate_pool(judged[1], self.num_songs, _MOST_CANDIDATES, np.random.default_rng(0))
        queries, songs = self._block_arrays(judged[0]), self._block_arrays(_rows(warm, pool))
        return choose_block_weights(queries, songs, Judge(places, k), RidgeConfig().block_weights)

    def _block_arrays(self, features: Mapping[str, Array]) -> dict[str, Array]:
        everyone = np.arange(len(next(iter(features.values()))))
        parts = [self.block_vectors(_rows(features, rows)) for rows in in_blocks(everyone)]
        return {name: np.concatenate([ops.convert_to_numpy(part[name]) for part in parts]) for name in self.blocks}

    def block_vectors(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the projection of every block, `(n, dim)`, before it is weighted."""
        return {name: self._block(name, features) for name in self.blocks}

    def _block(self, name: str, features: Mapping[str, Tensor]) -> Tensor:
        block, signs = self.blocks[name], self.signs[name]
        if not block[0].is_categorical:
            vectors = unit_numbers(block, features)
            return self._projected(ops.einsum("ns,spb->npb", vectors, _unpacked(signs)))
        ids = ops.convert_to_tensor(features[name])
        ids = ops.cast(first_values(ids, block[0].max_values) if block[0].is_list else ids[:, None], "int32")
        weights = l2_normalize(ops.take(self.idf[name], ids, axis=0))
        return self._projected(ops.einsum("nl,nlpb->npb", weights, _unpacked(ops.take(signs, ids, axis=0))))

    def _projected(self, sums: Tensor) -> Tensor:
        return ops.reshape(sums, (-1, self.dim)) / np.sqrt(self.dim).astype("float32")

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, dim)`; exact."""
        vectors = ops.stack(list(self.block_vectors(features).values()), axis=1)
        return vectors * self.scales[None, :, None]

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs: of candidates if `song_index` is among the features, else of queries."""
        vectors = ops.sum(self.block_parts(features), axis=1)
        if "song_index" not in features:
            return vectors
        index = ops.convert_to_tensor(features["song_index"])
        return ops.where((index > 0)[:, None], ops.take(self.songs, index, axis=0), vectors)

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, dim)` float32."""
        return np.asarray(ops.convert_to_numpy(self.songs)[1:])

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, dim)`."""
        return (input_shape[self.fields[0].name][0], self.dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"num_songs": self.num_songs, "dim": self.dim, "seed": self.seed}
        return {**super().get_config(), "fields": [field.to_dict() for field in self.fields], **own}


def _unpacked(packed: Tensor) -> Tensor:
    """Return the signs in whole numbers, `(..., n)` to `(..., n, 16)`: bit 0 first, 1 for a bit of 0, -1 for 1."""
    return 1.0 - 2.0 * ops.mod(ops.floor(ops.expand_dims(packed, -1) * _HALVES), 2.0)


def _rows(features: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    return {name: values[rows] for name, values in features.items()}
