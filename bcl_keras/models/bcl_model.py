"""The model that trains both towers with the joint loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import check_batch, check_rows, is_given_as_arrays
from bcl_keras.config import BCLConfig, as_config
from bcl_keras.data import FollowEpochs, PairStream
from bcl_keras.fields import Array, Field, as_fields, blocks_of
from bcl_keras.layers.feature_table import FeatureTable
from bcl_keras.losses import bpr, info_nce, sampled_softmax
from bcl_keras.models.candidate_tower import CandidateTower
from bcl_keras.models.contrast import ContrastiveViews
from bcl_keras.models.song_model import SongModel
from bcl_keras.models.song_tower import SongTower

Tensor = Any
SUPERVISED: dict[str, Any] = {"bpr": bpr, "sampled_softmax": sampled_softmax}


@keras.saving.register_keras_serializable(package="bcl_keras")
class BCLModel(SongModel):
    """Train the query and the candidate tower: `L = L_supervised + lambda L_contrastive`, with decoupled weight decay.

    `fit` takes a stream of row numbers (`bcl_keras.data.PairStream`) into the feature table that `set_catalogue` puts
    on the device. `predict` takes features and embeds songs.

    Args:
        fields: At least two fields, `Field` objects or their dicts.
        config: Settings, or their dict. Defaults to `BCLConfig()`.
        num_songs: Number of warm songs: rows `0 .. num_songs - 1` of the catalogue.
        save_table: Whether saved files hold the feature table. Defaults to `False`.
        plays_dim: Length of given vectors of what plays say (`config.plays_part = "vector"`). Defaults to 64.

    Call arguments:
        inputs: Either a batch of rows (`anchor`, `positive`, `contrast`, and optionally `weight`, `negative`,
            `known_positives`, `positive_log_q`, `negative_log_q`: see `PairStream`), or features, with `song_index`
            for the candidate tower, without it for the query tower.
        training: Whether dropout is active and the correlation is updated.

    Returns:
        Embeddings `(n, embedding_dim)` for features; for rows a dict of `anchor`, `positive`, `view_1`, `view_2`.

    References:
        Zhao et al., WWW'23 Companion, section 3.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        config: BCLConfig | Mapping[str, Any] | None = None,
        num_songs: int = 1,
        save_table: bool = False,
        plays_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fields, self.config = as_fields(fields), as_config(config)
        self.num_songs, self.save_table, self.plays_dim = num_songs, save_table, plays_dim
        policy = self.dtype_policy
        self.song_tower = SongTower(self.fields, self.config, name="song_tower", dtype=policy)
        self.candidate_tower = CandidateTower(
            self.song_tower, num_songs, self.config, plays_dim, name="candidate_tower", dtype=policy
        )
        self.feature_table = FeatureTable(self.fields, save_table, name="feature_table")
        if self.has_contrast:
            self.contrastive_views = ContrastiveViews(len(self.fields), self.config, name="contrast", dtype=policy)
            self.head = self._projection_head()
            self.contrastive_loss = keras.metrics.Mean(name="contrastive_loss")
        self.supervised_loss = keras.metrics.Mean(name="supervised_loss")

    def _projection_head(self) -> keras.layers.Layer:
        if not self.config.projection_dim:
            return keras.layers.Identity(name="head")
        policy = self.dtype_policy
        hidden = keras.layers.Dense(self.config.embedding_dim, activation="gelu", name="head_hidden", dtype=policy)
        output = keras.layers.Dense(self.config.projection_dim, name="head_output", dtype=policy)
        return keras.Sequential([hidden, output], name="head")

    @property
    def embedding_dim(self) -> int:  # type: ignore[override]
        """Length of an embedding."""
        return self.config.embedding_dim

    @property
    def has_contrast(self) -> bool:
        """Whether the contrastive task is on."""
        return self.config.contrast_weight > 0.0

    def build(self, input_shape: Any = None) -> None:
        """Build every part; sizes follow from fields and settings alone."""
        self.song_tower.build()
        self.candidate_tower.build()
        self.feature_table.build()
        if self.has_contrast:
            self.contrastive_views.build()
            self.head.build((None, self.config.embedding_dim))

    def set_catalogue(self, features: Mapping[str, Any]) -> None:
        """Put the features of all songs on the device.

        Args:
            features: Field name to array of one row per song. Rows 0 .. num_songs - 1 are the warm songs, with
                `song_index` row + 1; further rows are no candidates: anchors or songs of the contrastive batch alone.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, or there are fewer rows than warm
                songs.
        """
        if not self.built:
            self.build()
        self.feature_table.set_features(features, at_least=self.num_songs)
        # Functions traced before hold the old columns.
        self.train_function = self.test_function = self.predict_function = None

    def call(self, inputs: Mapping[str, Tensor], training: bool = False) -> Any:
        """Embed a batch of rows for the losses, or songs by their features."""
        if "anchor" in inputs:
            return self._embed_rows(inputs, training)
        if "song_index" in inputs:
            return self.candidate_tower(inputs, training=training)
        return self.song_tower(inputs, training=training)

    def song_index(self, rows: Tensor) -> Tensor:
        """Return the `song_index` of rows of the catalogue: row + 1 for warm songs, 0 for cold ones."""
        return ops.where(rows < self.num_songs, rows + 1, ops.zeros_like(rows))

    def _embed_rows(self, batch: Mapping[str, Tensor], training: bool) -> dict[str, Tensor]:
        parts = [name for name in ("anchor", "positive", "negative") if name in batch]
        supervised = ops.concatenate([batch[name] for name in parts], axis=0)
        count = ops.shape(batch["anchor"])[0]
        with_contrast = self.has_contrast and "contrast" in batch
        rows = ops.concatenate([supervised, batch["contrast"]], axis=0) if with_contrast else supervised
        # All songs of the step pass the encoders at once; each task takes its part of the field vectors.
        vectors, presence = self.song_tower.encode_fields(self.feature_table(rows))
        split = len(parts) * count
        shown = self.song_tower.field_dropout(presence[:split], training=training)
        content = self.song_tower.finish(self.song_tower.aggregate(vectors[:split], shown, training=training))
        candidates = self.candidate_tower.add_plays(content[count:], self.song_index(supervised[count:]), training)
        outputs = {"anchor": content[:count], "positive": candidates[:count]}
        if "negative" in batch:
            outputs["negative"] = candidates[count:]
        if with_contrast:
            outputs |= self._project_views(vectors[split:], presence[split:], training)
        return outputs

    def _project_views(self, vectors: Tensor, presence: Tensor, training: bool) -> dict[str, Tensor]:
        views, kept = self.contrastive_views((vectors, presence), training=training)
        projected = self.head(self.song_tower.aggregate(views, kept, training=training))
        count = ops.shape(vectors)[0]
        shown = ops.any(ops.cast(kept, "bool"), axis=1)
        # A view without any present field says nothing about its song: such songs are no examples.
        usable = ops.cast(shown[:count] & shown[count:], "float32")
        return {"view_1": projected[:count], "view_2": projected[count:], "usable": usable}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return `L_supervised + lambda L_contrastive`, and keep both parts for the logs."""
        supervised = self._supervised(x, y_pred)
        self.supervised_loss.update_state(supervised)
        total = supervised
        if "view_1" in y_pred:
            contrastive = self._contrastive(x, y_pred)
            self.contrastive_loss.update_state(contrastive)
            total = total + self.config.contrast_weight * contrastive
        return total

    def _supervised(self, batch: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Tensor:
        arguments: dict[str, Any] = {"temperature": self.config.temperature}
        if self.config.mask_accidental_hits:
            arguments["positive_ids"] = batch["positive"]
            arguments["negative_ids"] = batch.get("negative")
            arguments["known_positives"] = batch.get("known_positives")
        if self.config.correct_log_q:
            arguments["negative_log_q"] = batch.get("negative_log_q", batch.get("positive_log_q"))
            if self.config.supervised_loss == "sampled_softmax":
                arguments["positive_log_q"] = batch.get("positive_log_q")
        if self.config.supervised_loss == "bpr":
            arguments |= {"hardness": self.config.negative_hardness, "margin": self.config.margin}
        loss = SUPERVISED[self.config.supervised_loss]
        values = loss(outputs["anchor"], outputs["positive"], outputs.get("negative"), **arguments)
        return _mean(values, batch.get("weight"))

    def _contrastive(self, batch: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Tensor:
        values = info_nce(
            outputs["view_1"],
            outputs["view_2"],
            temperature=self.config.contrast_temperature,
            ids=batch["contrast"],
        )
        return _mean(values, outputs["usable"])

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Configure training; the losses are the model's own.

        Args:
            optimizer: Any Keras optimizer. Defaults to AdamW with the config's learning rate and weight decay.
            **kwargs: As for every Keras model, for instance `jit_compile`.
        """
        if optimizer is None:
            optimizer = keras.optimizers.AdamW(self.config.learning_rate, weight_decay=self.config.weight_decay)
        super().compile(optimizer=optimizer, **kwargs)

    def fit(self, x: Any = None, y: Any = None, *, callbacks: Any = None, **kwargs: Any) -> Any:
        """Train as every Keras model does; a `PairStream` is told the epoch, so that `initial_epoch` resumes it.

        Raises:
            ValueError: If the stream, or a batch given as arrays, names rows that the catalogue has not.
        """
        x = self._checked(x)
        if isinstance(x, PairStream):
            callbacks = [FollowEpochs(x), *(callbacks or [])]
            # The batches are random already, and Keras would shuffle their order by a state that no file keeps.
            kwargs.setdefault("shuffle", False)
        if self.built and not self.optimizer.built:
            # Keras would make the optimizer's variables in the first step, and trace that step twice for it.
            strategy = getattr(self, "distribute_strategy", None)  # where TensorFlow is the backend
            with strategy.scope() if strategy else nullcontext():
                self.optimizer.build(self.trainable_variables)
        return super().fit(x, y, callbacks=callbacks, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Return the losses as every Keras model does; rows are checked as in `fit`."""
        return super().evaluate(self._checked(x), y, **kwargs)

    def _checked(self, inputs: Any) -> Any:
        rows = self.feature_table.num_rows
        if isinstance(inputs, PairStream) and rows and (inputs.num_rows > rows or inputs.num_songs > self.num_songs):
            raise ValueError(
                f"Argument `x` must be a stream of at most {rows} rows, {self.num_songs} of them warm songs, as the "
                f"catalogue has. Received: {inputs.num_rows} and {inputs.num_songs}"
            )
        if is_given_as_arrays(inputs) and "anchor" in inputs and rows:
            return check_batch(inputs, rows)
        return super()._checked(inputs)

    def compile_from_config(self, config: Any) -> None:
        """Compile again as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def embed_songs(self, rows: Any = None, *, candidate: bool = False, batch_size: int = 4096) -> Array:
        """Embed songs of the catalogue.

        Args:
            rows: `(n,)` rows of the catalogue. Defaults to all.
            candidate: Whether to use the candidate tower. Defaults to `False`, the query tower.
            batch_size: Songs per step. Defaults to 4096.

        Returns:
            `(n, embedding_dim)` float32.

        Raises:
            ValueError: If there is no catalogue, or it has not such a row.
        """
        known = self.feature_table.num_rows
        rows = np.arange(known) if rows is None else np.asarray(rows)
        if known:
            rows = check_rows(rows, "rows", known)
        blocks = []
        for start in range(0, len(rows), batch_size):
            block = ops.convert_to_tensor(rows[start : start + batch_size], dtype="int32")
            features = self.feature_table(block)
            if candidate:
                embedded = self.candidate_tower({**features, "song_index": self.song_index(block)})
            else:
                embedded = self.song_tower(features)
            blocks.append(ops.convert_to_numpy(embedded))
        return np.concatenate(blocks) if blocks else np.zeros((0, self.config.embedding_dim), "float32")

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`.

        It is the mean of two differences: what the block adds to a song of which nothing else is known, and what the
        song loses without the block. Two blocks that say the same share what they say, where leaving one out alone
        would give nothing to either. Where blocks act alone or in pairs this is the Shapley value.
        """
        vectors, presence = self.song_tower.encode_fields(features)

        def embed(shown: Array) -> Tensor:
            return self.song_tower.finish(self.song_tower.aggregate(vectors, ops.logical_and(presence, shown[None])))

        fields = np.array([field.name for field in self.fields])
        everything, nothing = embed(np.ones(len(fields), bool)), embed(np.zeros(len(fields), bool))
        parts = []
        for block in blocks_of(self.fields).values():
            own = np.isin(fields, [field.name for field in block])
            parts.append((embed(own) - nothing + everything - embed(~own)) / 2.0)
        return ops.stack(parts, axis=1)

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, embedding_dim)` float32."""
        return self.embed_songs(np.arange(self.num_songs), candidate=True)

    def save_own_variables(self, store: Any) -> None:
        """Write the states of all random draws, which Keras leaves out: training resumed goes on drawing as before."""
        super().save_own_variables(store)
        for place, state in enumerate(self._seed_states()):
            store[f"seed_{place}"] = np.asarray(ops.convert_to_numpy(state))

    def load_own_variables(self, store: Any) -> None:
        """Read the states of all random draws if the file holds them."""
        for place, state in enumerate(self._seed_states()):
            if f"seed_{place}" in store.keys():
                state.assign(store[f"seed_{place}"])

    def _seed_states(self) -> list[Any]:
        return [variable for variable in self.variables if variable.name == "seed_generator_state"]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        own = {"num_songs": self.num_songs, "save_table": self.save_table, "plays_dim": self.plays_dim}
        fields = [field.to_dict() for field in self.fields]
        return {**super().get_config(), **own, "fields": fields, "config": self.config.to_dict()}


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return ops.mean(values)
    weights = ops.cast(weights, "float32")
    return ops.sum(values * weights) / ops.maximum(ops.sum(weights), 1e-12)
