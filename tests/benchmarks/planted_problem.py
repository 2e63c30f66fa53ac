"""A small problem with a known right answer: songs of five scenes, each heard by the listeners of its scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from benchmarks.quality.problem import Problem
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.contract import SongField

SCENES, SONGS, USERS = 5, 160, 60


def planted_data(seed: int = 0) -> DataSet:
    """Returns the data set: tags tell the scene, the tempo nearly does, an artist has about four songs of one scene."""
    rng = np.random.default_rng(seed)
    scene, taste = rng.integers(SCENES, size=SONGS), rng.integers(SCENES, size=USERS)
    chance = np.where(scene[:, None] == taste[None, :], 0.6, 0.05)
    plays = sparse.csr_matrix((rng.random((SONGS, USERS)) < chance).astype(np.int64))
    tags = [[f"scène {place}", f"mood {rng.integers(6)}"] if rng.random() < 0.8 else None for place in scene]
    artists = [f"artist {place}-{rng.integers(8)}" if rng.random() < 0.9 else None for place in scene]
    tempo = [None if rng.random() < 0.1 else float(place + 0.3 * rng.normal()) for place in scene]
    energy = [None if rng.random() < 0.1 else float(rng.normal()) for _ in scene]
    columns = {
        "song_id": [f"song {row:04d}" for row in range(SONGS)],
        "attribute_tags": pa.array(tags, pa.list_(pa.string())),
        "attribute_artist": pa.array(artists, pa.string()),
        "audio_energy": pa.array(energy, pa.float32()),
        "audio_tempo": pa.array(tempo, pa.float32()),
    }
    fields = (
        SongField("attribute_artist", "category"),
        SongField("attribute_tags", "multi_category"),
        SongField("audio_energy", "number"),
        SongField("audio_tempo", "number"),
    )
    songs = np.array([song.encode() for song in columns["song_id"]], object)
    users = np.array([f"user {row}".encode() for row in range(USERS)], object)
    return DataSet("planted", songs, users, plays, None, pa.table(columns), fields, Path("planted"))


def planted_problem(seed: int = 0) -> Problem:
    """Returns a split of it."""
    return Problem.of(planted_data(), seed)
