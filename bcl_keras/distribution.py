"""The only module that handles TensorFlow's replicas."""

from __future__ import annotations

import importlib
from typing import Any

import keras

Tensor = Any


def gather_replicas(rows: Tensor) -> Tensor:
    """Join the rows `(n, ...)` of all replicas of a `tf.distribute` strategy; elsewhere return them as they are.

    The correlation over a batch is not the mean of the correlations over its parts, so the songs are gathered.
    """
    tf = _tensorflow()
    if tf is None:
        return rows
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    # Gathering loses the static shape. Parts may differ in length alone.
    return tf.ensure_shape(context.all_gather(rows, axis=0), (None, *rows.shape[1:]))


def share_of_replica(loss: Tensor) -> Tensor:
    """Return what one replica's loss adds to the loss of all: Keras sums the gradients of the replicas."""
    tf = _tensorflow()
    replicas = 1 if tf is None else tf.distribute.get_strategy().num_replicas_in_sync
    return loss if replicas == 1 else loss / replicas


def _tensorflow() -> Any:
    """Return TensorFlow if it is the backend. Keras has imported it then, and other backends stay free of it."""
    return importlib.import_module("tensorflow") if keras.backend.backend() == "tensorflow" else None
