"""Recall on validation songs after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import check_validation
from bcl_keras.evaluation.choices import is_better
from bcl_keras.fields import Array
from bcl_keras.metrics import embedding_ranks, recall_at_k


class ValidationRecall(keras.callbacks.Callback):
    """Add `val_recall_at_<k>` to the logs after each epoch: queries by content, candidates with their plays.

    Put it before callbacks that read it, such as `EarlyStopping(monitor="val_recall_at_50", mode="max")`.

    Args:
        features: Field name to values of the n validation songs.
        positives: `(n, P)` rows of the warm songs they should retrieve, padded with -1; songs without any are left out.
        k: Length of the list. Defaults to 50.
        every: Epochs between measurements. Defaults to 1.
        restore_best: Whether training ends with the trainable weights of the best measurement, the first of equal ones.
            Defaults to `False`.

    Raises:
        ValueError: If `every` is below 1 or no validation song has a positive; when training starts, if a field breaks
            its contract or a positive is not a row of a warm song.

    Examples:
        >>> from bcl_keras import Field
        >>> from bcl_keras.models import BCLModel
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> model = BCLModel(fields, num_songs=4)
        >>> model.set_catalogue({"genre": [1, 1, 2, 2], "tempo": [0.1, 0.2, 0.9, 1.0]})
        >>> recall = ValidationRecall({"genre": [1], "tempo": [0.15]}, positives=[[0, 1]], k=4)
        >>> recall.set_model(model)  # `model.fit(stream, callbacks=[recall])` does it
        >>> recall.measure()
        1.0
    """

    def __init__(
        self, features: Mapping[str, Any], positives: Any, k: int = 50, every: int = 1, restore_best: bool = False
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"Argument `every` must be at least 1. Received: {every}")
        self.features, self.positives = features, np.asarray(positives)
        if not (self.positives >= 0).any():
            raise ValueError("Argument `positives` must hold a positive of at least one song. Received: none")
        self.k, self.every, self.restore_best = k, every, restore_best
        self.best = -1.0
        self._weights: list[Array] = []

    def set_model(self, model: Any) -> None:
        """Set the model, and check the songs against its fields."""
        super().set_model(model)
        features, positives = check_validation(model.fields, (self.features, self.positives), model.num_songs)
        judged = (positives >= 0).any(axis=1)
        self.features = {name: values[judged] for name, values in features.items()}
        self.positives = positives[judged]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, add to the logs, and remember the weights if they are the best."""
        if (epoch + 1) % self.every:
            return
        recall = self.measure()
        if logs is not None:
            logs[f"val_recall_at_{self.k}"] = recall
        if is_better(recall, self.best):
            self.best = recall
            if self.restore_best:
                self._weights = [np.array(ops.convert_to_numpy(weight)) for weight in self.model.trainable_variables]

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights."""
        if self._weights:
            for variable, weight in zip(self.model.trainable_variables, self._weights, strict=True):
                variable.assign(weight)

    def measure(self) -> float:
        """Return the mean recall of the validation songs."""
        tensors = {name: ops.convert_to_tensor(values) for name, values in self.features.items()}
        candidates = self.model.embed_songs(np.arange(self.model.num_songs), candidate=True)
        ranks = embedding_ranks(self.model.song_tower(tensors), candidates, self.positives)
        return float(np.nanmean(ops.convert_to_numpy(recall_at_k(ranks, self.k))))
