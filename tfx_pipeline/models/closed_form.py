"""The closed form of the songs that the Trainer learns from, joined with the towers and with plain content."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import bcl_keras
from bcl_keras.evaluation.choices import is_better
from tfx_pipeline.models.config import VALIDATION_K
from tfx_pipeline.models.training_songs import TrainingSongs, similar_pairs, validation_truth


def solve_ridge(
    fields: Sequence[bcl_keras.Field], config: bcl_keras.models.RidgeConfig, songs: TrainingSongs
) -> tuple[bcl_keras.models.AudienceRidge, dict[str, Any], TrainingSongs]:
    """Solves the closed form with sparse songs and without them, and keeps what validation songs prefer.

    Where an artist and an album are all that songs have, sparse songs can do harm.

    Args:
        fields: The model's fields.
        config: Settings of the closed form.
        songs: The songs to learn from, and those held out for choices.

    Returns:
        The model, what was chosen, and the songs to learn from: with sparse songs or without any.
    """
    judged = validation_truth(songs)
    choices = [songs]
    if len(songs.sparse) and (judged[1] >= 0).any():
        choices.append(dataclasses.replace(songs, sparse=songs.sparse.take(np.arange(0))))
    found = []
    for choice in choices:
        ridge = bcl_keras.models.AudienceRidge(fields, len(songs.warm), config)
        pairs = similar_pairs(choice)
        found.append((ridge, ridge.adapt(choice.learnt_features(), pairs, judged), choice))
    if len(found) == 1:
        return found[0]
    with_sparse, alone = (chosen["validation_recall"] for _, chosen, _ in found)
    ridge, chosen, songs = found[1] if is_better(alone, with_sparse) else found[0]
    return ridge, chosen | {"recall_with_sparse_songs": with_sparse, "recall_without_them": alone}, songs


def content_sketch(
    fields: Sequence[bcl_keras.Field], songs: TrainingSongs, dim: int, block_weights: Mapping[str, float]
) -> bcl_keras.models.ContentSketch:
    """Returns the sketch of the content of the warm songs, with the block weights of the closed form."""
    sketch = bcl_keras.models.ContentSketch(fields, len(songs.warm), dim)
    sketch.adapt(songs.warm.features, block_weights=block_weights)
    return sketch


def join(
    ridge: bcl_keras.models.AudienceRidge,
    towers: bcl_keras.models.BCLModel,
    songs: TrainingSongs,
    block_weights: Mapping[str, float],
    dim: int | None,
) -> tuple[bcl_keras.models.JoinedModel, dict[str, Any]]:
    """Joins the closed form, the towers, and plain content where validation songs give it a weight.

    Args:
        ridge: The closed form.
        towers: The towers.
        songs: The songs that both learnt from, and those held out for choices.
        block_weights: Those that the closed form chose.
        dim: Numbers of the sketch of content, see `TrainingConfig`; None for none.

    Returns:
        The model, and what was chosen, with `content_sketch`: numbers of the sketch that is joined, 0 without one.
    """
    judged = validation_truth(songs)
    if dim is None:
        model = bcl_keras.models.JoinedModel([ridge, towers])
        return model, model.adapt(judged, VALIDATION_K) | {"content_sketch": 0}
    sketch = content_sketch(ridge.fields, songs, dim, block_weights)
    model, chosen = bcl_keras.models.join_if_better([ridge, towers], sketch, judged, VALIDATION_K)
    return model, chosen | {"content_sketch": dim if sketch in model.models else 0}
