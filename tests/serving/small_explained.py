"""A model whose scores depend on one planted field, exported with the fields of `small_export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bcl_keras import Field
from bcl_keras.models import AudienceRidge, JoinedModel, RidgeConfig, SongModel
from serving.export.chances import ChanceScale
from serving.export.served_model import ServedModel, export
from tests.serving import small_export

FIELDS = (
    Field("attribute_genre", "category", 4),
    Field("attribute_tags", "multi_category", 2),
    Field("audio_tempo", "number"),
    Field("lyric_vector", "vector", 3),
)
PARTS = ("attribute_genre", "attribute_tags", "lyric_vector", "numbers", "rest")
SONGS = 30


def catalogue(count: int, seed: int) -> list[dict[str, Any]]:
    """Every song has a genre; the rest is noise, and often absent."""
    rng = np.random.default_rng(seed)
    return [
        {
            "song_id": f"s{seed}-{n}",
            "attribute_genre": small_export.GENRES[n % 3],
            "attribute_tags": [None, [], ["t"], ["t", "x"]][rng.integers(4)],
            "audio_tempo": [None, float(rng.normal())][rng.integers(2)],
            "lyric_vector": [None, rng.normal(size=3).tolist()][rng.integers(2)],
        }
        for n in range(count)
    ]


def features(songs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {
        "attribute_genre": np.array([small_export.GENRES.index(s["attribute_genre"]) + 1 for s in songs], np.int32),
        "attribute_tags": np.array([["t" in (s["attribute_tags"] or [])] for s in songs], np.int32),
        "audio_tempo": np.array([np.nan if s["audio_tempo"] is None else s["audio_tempo"] for s in songs], np.float32),
        "lyric_vector": np.array([s["lyric_vector"] or [np.nan] * 3 for s in songs], np.float32),
    }


WARM, NEW = catalogue(SONGS, 1), catalogue(7, 2)


def planted_model() -> JoinedModel:
    """Songs of one genre have one audience."""
    genre = np.arange(SONGS) % 3
    songs, similar = np.nonzero((genre[:, None] == genre) & ~np.eye(SONGS, dtype=bool))
    ridge = AudienceRidge(FIELDS, SONGS, RidgeConfig(rank=8))
    ridge.adapt(features(WARM), (songs, similar, np.ones(len(songs))))
    model = JoinedModel([ridge])
    model.adapt()
    return model


def served(
    model: SongModel,
    path: Path,
    *,
    explain: bool,
    integer_ids: bool = False,
    chances: ChanceScale | None = None,
) -> Path:
    path.parent.mkdir(parents=True)
    ids = [song["song_id"] for song in WARM]
    made = ServedModel(
        fields=small_export.FIELDS,
        transform=small_export.Transform(),
        model=model,
        warm_ids=ids,
        index_ids=list(range(SONGS)) if integer_ids else ids,
        index_embeddings=model.warm_candidates(),
        explain=explain,
        chances=chances,
    )
    export(made, str(path))
    return path
