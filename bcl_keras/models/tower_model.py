"""Both towers and the catalogue: how songs are embedded once the towers are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import SONG_INDEX, check_num_songs, check_rows
from bcl_keras.config import BCLConfig, as_config
from bcl_keras.fields import Array, Field, as_fields
from bcl_keras.layers.feature_table import FeatureTable
from bcl_keras.models.candidate_tower import CandidateTower
from bcl_keras.models.feature_embedder import FeatureEmbedder
from bcl_keras.models.song_model import SongModel
from bcl_keras.models.song_tower import SongTower

Tensor = Any


class TowerModel(SongModel):
    """Base of `BCLModel`: a query tower, a candidate tower and the features of the catalogue.

    Args:
        fields: At least two fields, `Field` objects or their dicts.
        num_songs: Number of warm songs: rows `0 .. num_songs - 1` of the catalogue.
        config: Settings, or their dict. Defaults to `BCLConfig()`.
        save_table: Whether saved files hold the feature table. Defaults to `False`.
        plays_dim: Length of given vectors of what plays say (`config.plays_part = "vector"`). Defaults to 64.
        **kwargs: As for every Keras model.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        num_songs: int,
        config: BCLConfig | Mapping[str, Any] | None = None,
        save_table: bool = False,
        plays_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fields, self.config = as_fields(fields), as_config(config)
        self.num_songs, self.save_table, self.plays_dim = check_num_songs(num_songs), save_table, plays_dim
        self._kept = SimpleNamespace()  # Keras neither tracks nor saves what is in it
        policy = self.dtype_policy
        self.song_tower = SongTower(self.fields, self.config, name="song_tower", dtype=policy)
        self.candidate_tower = CandidateTower(
            self.song_tower, num_songs, self.config, plays_dim, name="candidate_tower", dtype=policy
        )
        self.feature_table = FeatureTable(self.fields, save_table, name="feature_table")

    @property
    def embedding_dim(self) -> int:  # type: ignore[override]
        """Length of an embedding."""
        return self.config.embedding_dim

    def build(self, input_shape: Any = None) -> None:
        """Build both towers; sizes follow from fields and settings alone."""
        self.song_tower.build()
        self.candidate_tower.build()
        self.feature_table.build()

    def set_catalogue(self, features: Mapping[str, Any]) -> None:
        """Put the features of all songs on the device.

        Args:
            features: Field name to array of one row per song. Rows 0 .. num_songs - 1 are the warm songs, with
                `song_index` row + 1; further rows are not candidates: anchors or songs of the contrastive batch alone.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, or there are fewer rows than warm
                songs.
        """
        if not self.built:
            self.build()
        self.feature_table.set_features(features, at_least=self.num_songs)
        # Functions that were traced before hold the old columns.
        self.train_function = self.test_function = self.predict_function = None

    def song_index(self, rows: Tensor) -> Tensor:
        """Return the `song_index` of rows of the catalogue: row + 1 for warm songs, 0 for cold ones."""
        return ops.where(rows < self.num_songs, rows + 1, ops.zeros_like(rows))

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs: of candidates if `song_index` is among the features, else of queries."""
        tower = self.candidate_tower if SONG_INDEX in features else self.song_tower
        return tower(features)

    def embed_songs(self, songs: Any = None, *, candidate: bool = False, batch_size: int = 4096) -> Array:
        """Return the embeddings of songs, by their features or by their rows of the catalogue.

        Args:
            songs: Field name to array (see `SongModel.embed_songs`), or rows `(n,)` of the catalogue. Defaults to all
                rows.
            candidate: Whether to use the candidate tower. Defaults to `False`, the query tower.
            batch_size: Songs per step. Defaults to 4096.

        Returns:
            `(n, embedding_dim)` float32.

        Raises:
            ValueError: If there is no catalogue or no such row, or features break their contract.
        """
        if isinstance(songs, Mapping):
            return super().embed_songs(songs, candidate=candidate, batch_size=batch_size)
        known = self.feature_table.num_rows
        rows = np.arange(known) if songs is None else np.asarray(songs)

        def embed(block: Array) -> Tensor:
            places = ops.convert_to_tensor(block, dtype="int32")
            features = self.feature_table(places)
            return self.embed_features({**features, SONG_INDEX: self.song_index(places)} if candidate else features)

        return self._in_batches(embed, check_rows(rows, "songs", known) if known else rows, batch_size)

    def _by_features(self) -> keras.Model:
        if not hasattr(self._kept, "embedder"):
            if not self.built:
                self.build()
            with self._strategy_scope():
                self._kept.embedder = FeatureEmbedder(self, name="feature_embedder")
        return self._kept.embedder

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`."""
        return self.song_tower.block_parts(features)

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, embedding_dim)` float32."""
        return self.embed_songs(np.arange(self.num_songs), candidate=True)

    def _strategy_scope(self) -> AbstractContextManager[Any]:
        strategy = getattr(self, "distribute_strategy", None)  # where TensorFlow is the backend
        return strategy.scope() if strategy else nullcontext()

    def save_own_variables(self, store: Any) -> None:
        """Write the states of all random draws, which Keras leaves out, so that resumed training draws on."""
        super().save_own_variables(store)
        for place, state in enumerate(self._seed_states()):
            store[f"seed_{place}"] = np.asarray(ops.convert_to_numpy(state))

    def load_own_variables(self, store: Any) -> None:
        """Read the states of all random draws if the file holds them."""
        known = set(store.keys())
        for place, state in enumerate(self._seed_states()):
            if f"seed_{place}" in known:
                state.assign(store[f"seed_{place}"])

    def _seed_states(self) -> list[Any]:
        return [variable for variable in self.variables if variable.name == "seed_generator_state"]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"num_songs": self.num_songs, "save_table": self.save_table, "plays_dim": self.plays_dim}
        fields = [field.to_dict() for field in self.fields]
        return {**super().get_config(), **own, "fields": fields, "config": self.config.to_dict()}
