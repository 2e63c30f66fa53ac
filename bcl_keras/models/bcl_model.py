"""The model that trains both towers with the joint loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from bcl_keras.checks import check_batch, is_given_as_arrays
from bcl_keras.config import BCLConfig
from bcl_keras.data import FollowEpochs, PairStream
from bcl_keras.distribution import share_of_replica
from bcl_keras.fields import Field
from bcl_keras.losses.task_losses import TASKS, task_losses
from bcl_keras.models.contrast import ContrastiveViews
from bcl_keras.models.tower_model import TowerModel

Tensor = Any
# What a batch may say of its songs beside their rows: see `PairStream`.
_KNOWN = ("known_positives", "positive_log_q", "negative_log_q")


@keras.saving.register_keras_serializable(package="bcl_keras")
class BCLModel(TowerModel):
    """Train the query and the candidate tower: `L = L_supervised + lambda L_contrastive`, with decoupled weight decay.

    `call` embeds a training batch: row numbers of a `bcl_keras.data.PairStream`, looked up in the feature table that
    `set_catalogue` puts on the device. `embed_songs` and `predict` embed queries and candidates.

    Args:
        fields: At least two fields, `Field` objects or their dicts.
        num_songs: Number of warm songs: rows `0 .. num_songs - 1` of the catalogue.
        config: Settings, or their dict. Defaults to `BCLConfig()`.
        save_table: Whether saved files hold the feature table. Defaults to `False`.
        plays_dim: Length of given vectors of what plays say (`config.plays_part = "vector"`). Defaults to 64.

    Call arguments:
        batch: Row numbers `anchor`, `positive`, and optionally `contrast` and `negative`: see `PairStream`.
        training: Whether dropout is active and the correlation is updated.

    Returns:
        A dict of embeddings `(n, embedding_dim)`: `anchor`, `positive`, and as the batch has them `negative`, `view_1`
        and `view_2`, with `usable` `(n,)` for the views.

    Raises:
        ValueError: If a setting lies outside its range.

    Examples:
        >>> import numpy as np
        >>> from bcl_keras import BCLConfig, Field
        >>> from bcl_keras.data import PairStream
        >>> from bcl_keras.losses import BPR
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> songs = {"genre": [1, 1, 2, 2], "tempo": [0.1, 0.2, 0.9, 1.0]}
        >>> model = BCLModel(fields, num_songs=4, config=BCLConfig(embedding_dim=8, batch_size=4))
        >>> model.set_catalogue(songs)
        >>> model.compile(loss=BPR(temperature=0.1, margin=2.0))  # without `loss` the config decides
        >>> stream = PairStream(([0, 1, 2, 3], [1, 0, 3, 2], [1, 1, 1, 1]), num_songs=4, batch_size=4)
        >>> history = model.fit(stream, epochs=1, verbose=0)
        >>> model.embed_songs({"genre": [1], "tempo": [0.15]}).shape
        (1, 8)

    References:
        Zhao et al., WWW'23 Companion, section 3.
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
        super().__init__(fields, num_songs, config, save_table, plays_dim, **kwargs)
        self.task_losses, self._loss_is_given = task_losses(None, self.config), False
        if self.has_contrast:
            self.contrastive_views = ContrastiveViews(
                len(self.fields), self.config, name="contrast", dtype=self.dtype_policy
            )
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
    def has_contrast(self) -> bool:
        """Whether the contrastive task is on."""
        return self.config.contrast_weight > 0.0

    def build(self, input_shape: Any = None) -> None:
        """Build every part; sizes follow from fields and settings alone."""
        super().build(input_shape)
        if self.has_contrast:
            self.contrastive_views.build()
            self.head.build((None, self.config.embedding_dim))

    def call(self, batch: Mapping[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Embed the songs of a training batch for the losses."""
        if "anchor" not in batch or "positive" not in batch:
            raise ValueError(
                "Argument `batch` must hold rows of `anchor` and `positive`. `embed_songs` takes features. "
                f"Received: {sorted(batch)}"
            )
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
        # A view without any present field says nothing about its song, so the song is no example.
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
        return share_of_replica(total)

    def _supervised(self, batch: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Tensor:
        ids = {"positive_ids": batch["positive"], "negative_ids": batch.get("negative")}
        known = {name: batch.get(name) for name in _KNOWN}
        return self.task_losses.supervised({**ids, **known}, outputs, batch.get("weight"))

    def _contrastive(self, batch: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Tensor:
        return self.task_losses.contrastive({"ids": batch["contrast"]}, outputs, outputs["usable"])

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """Configure training.

        Args:
            optimizer: Any Keras optimizer. Defaults to AdamW with the config's learning rate and weight decay.
            loss: The supervised loss, such as `bcl_keras.losses.BPR(margin=5.0)` or its name in the config; or a dict
                of losses by task, `"supervised"` and `"contrastive"`. What is not given follows the config.
            **kwargs: As for every Keras model, for instance `jit_compile`.

        Raises:
            ValueError: If a task is unknown, or its loss is not one for it.
        """
        self.task_losses, self._loss_is_given = task_losses(loss, self.config), loss is not None
        if optimizer is None:
            optimizer = keras.optimizers.AdamW(self.config.learning_rate, weight_decay=self.config.weight_decay)
        super().compile(optimizer=optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile`."""
        config: dict[str, Any] | None = super().get_compile_config()
        if config is None or not self._loss_is_given:
            return config
        losses = {task: getattr(self.task_losses, task) for task in TASKS}
        return {**config, "loss": keras.saving.serialize_keras_object(losses)}

    def compile_from_config(self, config: Any) -> None:
        """Compile again as the saved model was."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, *, callbacks: Any = None, **kwargs: Any) -> Any:
        """Train as every Keras model does; a `PairStream` is told the epoch, so that `initial_epoch` resumes it.

        Raises:
            ValueError: If the stream, or a batch given as arrays, names rows that the catalogue lacks.
        """
        x = self._checked(x)
        if isinstance(x, PairStream):
            callbacks = [FollowEpochs(x), *(callbacks or [])]
            # The batches are random already. Keras would shuffle their order by a state that no file keeps.
            kwargs.setdefault("shuffle", False)
        if self.built and not self.optimizer.built:
            # Keras would make the optimizer's variables in the first step, and trace that step twice for it.
            with self._strategy_scope():
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
        return inputs
