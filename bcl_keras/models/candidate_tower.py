"""The candidate tower: a song's content and what its plays say about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from bcl_keras.checks import check_num_songs
from bcl_keras.config import BCLConfig, as_config
from bcl_keras.models.song_tower import SongTower
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any


@keras.saving.register_keras_serializable(package="bcl_keras")
class CandidateTower(keras.layers.Layer):
    """Add what a warm song's plays say to its content embedding.

    `z = content + p(song_index)`, then unit length, with p a learned vector per song (`config.plays_part = "id"`), a
    dense map of a given vector per song (`"vector"`, see `set_plays_vectors`) or nothing (`"none"`). In training that
    part is left out for a share of the songs. So content alone works for songs without plays, whose `song_index` is 0.

    Args:
        song_tower: The content encoder, shared with the query side.
        num_songs: Number of warm songs.
        config: Settings, or their dict. Defaults to `BCLConfig()`.
        plays_dim: Length of the given vectors, for `"vector"` only. Defaults to 64.

    Call arguments:
        features: Dict of field name to values, and `"song_index"`: integers `(n,)`, 1 .. num_songs, 0 = no plays.
        training: Whether dropout is active.

    Returns:
        `(n, embedding_dim)` float32, of unit length if `config.normalize`.

    Examples:
        >>> from bcl_keras import Field
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> tower = CandidateTower(SongTower(fields), num_songs=4)
        >>> songs = {"genre": [1, 2], "tempo": [0.1, 0.9], "song_index": [3, 0]}
        >>> tuple(tower({name: ops.convert_to_tensor(values) for name, values in songs.items()}).shape)
        (2, 128)
    """

    def __init__(
        self,
        song_tower: SongTower,
        num_songs: int,
        config: BCLConfig | Mapping[str, Any] | None = None,
        plays_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.song_tower, self.num_songs, self.plays_dim = song_tower, check_num_songs(num_songs), plays_dim
        self.config = as_config(config)
        self.seed_generator = keras.random.SeedGenerator(self.config.seed + 101)

    def build(self, input_shape: Any = None) -> None:
        """Create the table of what plays say."""
        if not self.song_tower.built:
            self.song_tower.build()
        rows, width = self.num_songs + 1, self.config.embedding_dim
        if self.config.plays_part == "id":
            self.plays_table = self.add_weight(shape=(rows, width), initializer="zeros", name="plays_table")
        elif self.config.plays_part == "vector":
            self.plays_table = self.add_weight(
                shape=(rows, self.plays_dim), initializer="zeros", trainable=False, autocast=False, name="plays_table"
            )
            self.plays_kernel = self.add_weight(
                shape=(self.plays_dim, width), initializer="glorot_uniform", name="plays_kernel"
            )

    def set_plays_vectors(self, vectors: Any) -> None:
        """Set the given vector of each warm song, such as its collaborative-filtering factors.

        Args:
            vectors: `(num_songs, plays_dim)`; row i belongs to `song_index` i + 1.

        Raises:
            ValueError: If the tower does not use given vectors, or their shape is another.
        """
        if self.config.plays_part != "vector":
            raise ValueError(
                f"Argument `config.plays_part` must be 'vector' to set vectors. Received: {self.config.plays_part!r}"
            )
        if not self.built:
            self.build()
        vectors = ops.convert_to_tensor(vectors, dtype="float32")
        expected = (self.num_songs, self.plays_dim)
        if tuple(vectors.shape) != expected:
            raise ValueError(f"Argument `vectors` must have shape {expected}. Received: {tuple(vectors.shape)}")
        self.plays_table.assign(ops.concatenate([ops.zeros((1, self.plays_dim)), vectors], axis=0))

    def add_plays(self, content: Tensor, song_index: Tensor, training: bool = False) -> Tensor:
        """Return candidate embeddings from content embeddings `(n, embedding_dim)` and `song_index` `(n,)`."""
        if self.config.plays_part == "none":
            return content
        from_plays = ops.cast(ops.take(self.plays_table, song_index, axis=0), "float32")
        if self.config.plays_part == "vector":
            from_plays = ops.matmul(from_plays, ops.cast(self.plays_kernel, "float32"))
        known = song_index > 0
        if training:
            draws = keras.random.uniform(ops.shape(song_index), dtype="float32", seed=self.seed_generator)
            known = known & (draws >= self.config.plays_dropout)
        joined = content + ops.where(known[:, None], from_plays, ops.zeros_like(from_plays))
        return l2_normalize(joined) if self.config.normalize else joined

    def call(self, features: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Embed songs as candidates."""
        if "song_index" not in features:
            raise ValueError(f"Argument `features` must hold `song_index`. Received: {sorted(features)}")
        content = self.song_tower(features, training=training)
        return self.add_plays(content, ops.convert_to_tensor(features["song_index"]), training=training)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, embedding_dim)`."""
        return (input_shape["song_index"][0], self.config.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        tower = keras.saving.serialize_keras_object(self.song_tower)
        own = {"song_tower": tower, "num_songs": self.num_songs, "plays_dim": self.plays_dim}
        return {**super().get_config(), **own, "config": self.config.to_dict()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CandidateTower:
        """Restore the tower and the song tower within."""
        tower = keras.saving.deserialize_keras_object(config.pop("song_tower"))
        return cls(tower, **config)
