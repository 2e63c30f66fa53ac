"""The one place that knows about TensorFlow's replicas."""

from __future__ import annotations

import importlib
from typing import Any

import keras

Tensor = Any


def gather_replicas(rows: Tensor) -> Tensor:
    """Join the rows `(n, ...)` of all replicas of a `tf.distribute` strategy; elsewhere return them as they are.

    The correlation over a batch is not the mean of the correlations over its parts, so the songs are gathered.
    """
    if keras.backend.backend() != "tensorflow":
        return rows
    # Keras has imported it already: this costs nothing and keeps the other backends free of it.
    tf = importlib.import_module("tensorflow")
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows
    # Gathering loses the static shape. Parts may differ in length alone.
    return tf.ensure_shape(context.all_gather(rows, axis=0), (None, *rows.shape[1:]))
