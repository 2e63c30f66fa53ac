"""A small catalogue with planted structure: two blocks of fields, each of its own latent taste."""

from __future__ import annotations

from typing import Any

import numpy as np

from bcl_keras import BCLConfig, Field
from bcl_keras.data import PairStream
from bcl_keras.models import BCLModel

SMALL = BCLConfig(
    embedding_dim=8,
    field_dim=6,
    hidden_dims=(12,),
    projection_dim=5,
    batch_size=16,
    correlation_songs=16,
    update_every=2,
)

FIELDS = (
    Field("attribute_genre", "category", 6),
    Field("attribute_tags", "multi_category", 13),
    Field("audio_tempo", "number"),
    Field("audio_timbre", "vector", 4),
)


def features(songs: int, seed: int = 0, missing: float = 0.2) -> dict[str, np.ndarray]:
    """Genre and tags follow one taste, tempo and timbre another; a share of every field is missing."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, songs))
    genre = np.digitize(first, [-1.0, -0.3, 0.3, 1.0]) + 1
    tags = np.stack([genre + 1, 6 + np.digitize(first, [-0.5, 0.0, 0.5]), rng.integers(10, 13, songs)], axis=1)
    tempo = second + 0.1 * rng.normal(size=songs)
    timbre = second[:, None] * [1.0, -1.0, 0.5, 2.0] + 0.1 * rng.normal(size=(songs, 4))
    absent = rng.random((4, songs)) < missing
    genre[absent[0]] = 0
    tags[absent[1]] = 0
    tempo[absent[2]] = np.nan
    timbre[absent[3], 1] = np.nan
    return {
        "attribute_genre": genre.astype("int32"),
        "attribute_tags": tags.astype("int32"),
        "audio_tempo": tempo.astype("float32"),
        "audio_timbre": timbre.astype("float32"),
    }


def pairs(catalogue: dict[str, np.ndarray], songs: int, each: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each of the first `songs` songs with its nearest ones by tempo."""
    tempo = np.nan_to_num(catalogue["audio_tempo"][:songs])
    distances = np.abs(tempo[:, None] - tempo[None, :]) + 1e9 * np.eye(songs)
    nearest = np.argsort(distances, axis=1)[:, :each]
    anchors = np.repeat(np.arange(songs), each)
    return anchors, nearest.ravel(), np.tile(1.0 / np.arange(1, each + 1), songs)


def model_and_stream(
    config: BCLConfig = SMALL, songs: int = 64, cold: int = 8, steps: int = 4, **stream: Any
) -> tuple[BCLModel, PairStream]:
    """Return a model with its catalogue and a stream for it."""
    model = BCLModel(FIELDS, num_songs=songs, config=config)
    catalogue = features(songs + cold)
    model.set_catalogue(catalogue)
    made = PairStream(
        pairs(catalogue, songs),
        songs,
        num_rows=songs + cold,
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        **stream,
    )
    return model, made
