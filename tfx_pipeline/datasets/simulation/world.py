"""The simulated world: its settings, its fields, and the quantities that are drawn once and hold for all songs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.kinds import ARROW_KINDS, FieldKind
from tfx_pipeline.datasets.simulation.names import GENRES

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class FieldModel:
    """One simulated field: scores = sqrt(s) taste + sqrt(1 - s) (sqrt(r) group factor + sqrt(1 - r) noise).

    A number and a vector show the scores themselves, a category the word of the highest score, a multi-valued category
    the words of the highest few.

    Attributes:
        field: Name, kind and length as in the contract.
        strength: The number s in [0, 1], the share of the scores' variance that taste explains; 0 is a field of noise.
        size: Number of words of a category, 1 for a number, else the vector's length.
        group: Which group factor the rest shares with other fields; r depends on the release time; None for none.
        missing: Share of songs without this field, on top of songs without any field of its group.
        scale: (mean, deviation) of the shown number or vector elements.
        words: Word list, for categories.
    """

    field: SongField
    strength: float
    size: int = 1
    group: str | None = None
    missing: float = 0.03
    scale: tuple[float, float] = (0.0, 1.0)
    words: str = ""


def _model(name: str, kind: FieldKind, strength: float, size: int = 1, **others: Any) -> FieldModel:
    return FieldModel(SongField(name, kind, size if ARROW_KINDS[kind].is_sized else 1), strength, size, **others)


# Useful, half useful and useless fields of each kind, so that a model has something to find out. "production" and
# "mood" are the two groups whose inner correlation drifts, one down and one up.
FIELDS: tuple[FieldModel, ...] = (
    _model("attribute_genre", "category", 0.75, 12, words="genre", missing=0.10),
    _model("attribute_language", "category", 0.30, 8, words="language"),
    _model("attribute_label", "category", 0.0, 60, words="label"),
    _model("attribute_tags", "multi_category", 0.60, 80, words="tag", missing=0.30),
    _model("attribute_studios", "multi_category", 0.0, 40, words="studio"),
    _model("audio_energy", "number", 0.30, group="production", scale=(0.55, 0.2)),
    _model("audio_loudness", "number", 0.20, group="production", scale=(-9.0, 4.0)),
    _model("audio_tempo", "number", 0.10, group="production", scale=(118.0, 24.0)),
    _model("audio_dynamics", "vector", 0.10, 6, group="production"),
    _model("audio_valence", "number", 0.25, group="mood", scale=(0.5, 0.2)),
    _model("audio_timbre", "vector", 0.45, 16, missing=0.05),
    _model("audio_room", "vector", 0.0, 12),
    _model("audio_duration_sec", "number", 0.0, scale=(215.0, 45.0)),
    _model("lyric_embedding", "vector", 0.50, 24, missing=0.05),
    _model("lyric_moods", "multi_category", 0.25, 24, words="mood", group="mood"),
    _model("lyric_sentiment", "number", 0.20, group="mood"),
    _model("lyric_topics", "multi_category", 0.45, 24, words="topic", missing=0.20),
    _model("lyric_words", "number", 0.05, scale=(280.0, 90.0)),
)
GROUPS: tuple[str, ...] = ("production", "mood")


@dataclass(frozen=True)
class Settings:
    """What shapes a simulated catalogue, beside its size.

    Attributes:
        dimensions: Of the latent taste.
        stations: Playlists-like contexts; a user picks a station, the station a song.
        spread: Deviation of a song's or user's taste around its clusters' centres, in units of a centre's length.
        interests: Concentration of the Dirichlet law of a user's clusters; small = few clusters.
        user_focus: How strongly taste decides the station.
        song_focus: How strongly a station's place decides the song, compared with popularity.
        song_power: Pareto exponent of songs' popularity.
        user_power: Pareto exponent of users' activity.
        unreleased: Share of songs released after the last play, which nobody has played.
        without_lyrics: Share of songs without any lyric field.
        without_audio: Share of songs without any audio field.
        group_share: The number r of each group at the first and the last release time; it moves in a straight line.
        factor_dimensions: Of each group's factor.
        periods: Release periods of equal length for which the truth states correlations.
    """

    dimensions: int = 16
    stations: int = 96
    spread: float = 0.6
    interests: float = 0.1
    user_focus: float = 10.0
    song_focus: float = 10.0
    song_power: float = 1.4
    user_power: float = 1.6
    unreleased: float = 0.08
    without_lyrics: float = 0.12
    without_audio: float = 0.04
    group_share: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {"production": (0.90, 0.10), "mood": (0.10, 0.90)}
    )
    factor_dimensions: int = 2
    periods: int = 4


@dataclass(frozen=True)
class World:
    """Quantities drawn once: where clusters and stations lie, how fields read taste and group factors.

    Attributes:
        settings: The settings.
        centres: (clusters, dimensions) unit vectors.
        cluster_shares: (clusters,) shares of songs.
        stations: (stations, dimensions) unit vectors.
        taste_mean: (dimensions,) mean of songs' taste.
        taste_loadings: Per field (size, dimensions); a row times (taste - taste_mean) has variance 1 over songs.
        group_loadings: Per field (size, factor_dimensions); rows have length 1.
        biases: Per field (size,) added to scores: common and rare words.
    """

    settings: Settings
    centres: Array
    cluster_shares: Array
    stations: Array
    taste_mean: Array
    taste_loadings: dict[str, Array]
    group_loadings: dict[str, Array]
    biases: dict[str, Array]

    def group_share(self, group: str, released: Array) -> Array:
        """Returns r of a group at release times in [0, 1]."""
        first, last = self.settings.group_share[group]
        return first + (last - first) * released


def draw_world(settings: Settings, seed: int) -> World:
    """Returns the world of a seed."""
    generator = np.random.default_rng([seed, 0])
    clusters = len(GENRES)
    centres = _units(generator, clusters, settings.dimensions)
    home = generator.integers(clusters, size=settings.stations)
    offsets = settings.spread * _units(generator, settings.stations, settings.dimensions)
    shares = generator.dirichlet(np.full(clusters, 8.0))
    mean = shares @ centres
    covariance = (centres - mean).T @ ((centres - mean) * shares[:, None])
    covariance += np.eye(settings.dimensions) * settings.spread**2 / settings.dimensions
    loadings, group_loadings, biases = {}, {}, {}
    for model in FIELDS:
        name = model.field.name
        rows = _units(generator, model.size, settings.dimensions)
        rows = centres if model.words == "genre" else rows
        loadings[name] = rows / np.sqrt(np.einsum("fd,de,fe->f", rows, covariance, rows))[:, None]
        group_loadings[name] = _units(generator, model.size, settings.factor_dimensions)
        if not (model.words or model.field.is_list):  # The numbers of a group rise and fall together.
            group_loadings[name] = _unit(group_loadings[name] / 2 + np.eye(settings.factor_dimensions)[:1])
        skewed = bool(model.words) and model.words != "genre"
        biases[name] = generator.normal(scale=0.5, size=model.size) if skewed else np.zeros(model.size)
    return World(
        settings=settings,
        centres=centres,
        cluster_shares=shares,
        stations=_unit(centres[home] + offsets),
        taste_mean=mean,
        taste_loadings=loadings,
        group_loadings=group_loadings,
        biases=biases,
    )


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _units(generator: np.random.Generator, count: int, dimensions: int) -> Array:
    return _unit(generator.normal(size=(count, dimensions)))
