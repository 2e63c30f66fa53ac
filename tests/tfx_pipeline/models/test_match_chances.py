"""Chances of matches: a planted law is found again, intervals hold it, and odd validation songs give none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bcl_keras import Field
from bcl_keras.models import SongModel
from serving.export.chances import ChanceScale, chances_of
from tfx_pipeline.models.calibration import calibration_error
from tfx_pipeline.models.match_chances import fit_chances, fit_scale, predict

PLACES, FIELDS_KNOWN = 100, 7


def law(scores: np.ndarray) -> np.ndarray:
    """The chance of a match by its score: neither linear nor logistic."""
    return np.clip(0.05 + 0.9 * np.maximum(scores - 0.3, 0) ** 2, 0, 1)


def planted(songs: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.2, 0.7, (songs, 1))
    scores = -np.sort(-(level + rng.gamma(2.0, 0.08, (songs, PLACES))), axis=1)
    return scores, rng.random(scores.shape) < law(scores), rng.integers(1, FIELDS_KNOWN, songs)


@pytest.fixture(scope="module")
def scale() -> ChanceScale:
    found = fit_scale(*planted(400, seed=1))
    assert found is not None
    return found


def test_a_planted_law_is_found_again_on_other_songs(scale: ChanceScale) -> None:
    scores, hits, known = planted(400, seed=2)
    chance, low, high = predict(scale, scores, known)
    assert calibration_error(chance, hits) < 0.02
    assert np.abs(chance - law(scores)).mean() < 0.02
    assert (low <= chance).all() and (chance <= high).all()
    assert ((low - 0.01 <= law(scores)) & (law(scores) <= high + 0.01)).mean() > 0.8
    assert calibration_error(np.full(hits.shape, hits.mean() + 0.1), hits) == pytest.approx(0.1)


def draws(songs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matches whose log odds are a law of score and place, moved by a number of their song that nobody knows."""
    scores = -np.sort(-rng.gamma(3.0, 0.1, (songs, 60)) * rng.uniform(0.7, 1.3, (songs, 1)), axis=1)
    odds = log_odds(scores) + SONG_SPREAD * rng.normal(size=(songs, 1))
    return scores, rng.random(scores.shape) < 1 / (1 + np.exp(-odds)), rng.integers(1, FIELDS_KNOWN, songs)


SONG_SPREAD = 1.0


def log_odds(scores: np.ndarray) -> np.ndarray:
    return 1.5 + 2.0 * np.log(np.maximum(scores, 0.01)) - 0.5 * np.log(np.arange(1, scores.shape[1] + 1) + 2)


def true_chance(scores: np.ndarray) -> np.ndarray:
    """The chance of each match over all songs: the mean over the number of the song."""
    points, weights = np.polynomial.hermite_e.hermegauss(40)
    odds = log_odds(scores)[..., None] + SONG_SPREAD * points
    return (weights / (1 + np.exp(-odds))).sum(axis=-1) / weights.sum()


def test_intervals_hold_the_true_chance_in_95_of_100_fits() -> None:
    """Matches of a song share its number, so that an interval that counts single matches would be far too short."""
    rng = np.random.default_rng(0)
    scores, _, known = draws(30, rng)
    true, inside, widths = true_chance(scores), [], []
    for _ in range(25):
        fitted = fit_scale(*draws(120, rng))
        assert fitted is not None
        _, low, high = predict(fitted, scores, known)
        inside.append((low <= true) & (true <= high))
        widths.append(high - low)
    assert 0.88 < np.mean(inside) < 0.99
    assert 0.85 < np.mean(np.array(inside)[:, :, :10]) < 0.99  # the first ten alone, too
    assert np.mean(widths) < 0.2  # an interval from 0 to 1 would hold everything


def test_more_songs_give_shorter_intervals() -> None:
    few, many = (fit_scale(*draws(songs, np.random.default_rng(1))) for songs in (100, 1600))
    scores, _, known = draws(20, np.random.default_rng(2))
    widths = []
    for fitted in (few, many):
        assert fitted is not None
        _, low, high = predict(fitted, scores, known)
        widths.append((high - low).mean())
    assert 3 < widths[0] / widths[1] < 5  # 16 times as many songs: a quarter


def test_the_first_ten_matches_come_true_as_often_as_they_say() -> None:
    fitted = fit_scale(*planted(400, seed=5))
    assert fitted is not None
    scores, hits, known = planted(3000, seed=6)
    chance = predict(fitted, scores, known)[0][:, :10]
    assert calibration_error(chance, hits[:, :10]) < 0.02
    assert abs(chance - law(scores[:, :10])).mean() < 0.03


def test_a_better_score_or_place_never_has_a_lower_chance(scale: ChanceScale) -> None:
    scores, _, known = planted(50, seed=3)
    chance = predict(scale, scores, known)[0]
    assert (np.diff(chance, axis=1) <= 1e-12).all()


def test_places_that_favour_the_worse_match_count_nowhere() -> None:
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((100, PLACES)), axis=1)
    found = fit_scale(scores, rng.random(scores.shape) < np.linspace(0.0, 0.5, PLACES), np.ones(100))
    assert found is not None and found.weights[0] >= 0 and found.weights[1] <= 0


def test_the_graph_gives_the_same_from_constants_out_of_json(scale: ChanceScale) -> None:
    restored = ChanceScale.from_dict(json.loads(json.dumps(asdict(scale))))
    assert restored == scale
    scores, _, known = planted(20, seed=4)
    scores[0, -30:] = -1.0
    found = chances_of(restored, tf.constant(scores, tf.float32), tf.constant(known, tf.int32))
    for expected, values in zip(predict(scale, scores, known), found.values(), strict=True):
        np.testing.assert_allclose(values.numpy(), expected, atol=2e-4)


class Wide(SongModel):
    """Embeds a song by its long vector; a candidate is one song of the catalogue."""

    fields, embedding_dim = (Field("audio_vector", "vector", 384), Field("audio_tempo", "number")), 384

    def __init__(self, songs: np.ndarray) -> None:
        super().__init__()
        self.num_songs, self.catalogue = len(songs), songs

    def embed_features(self, features: Mapping[str, Any]) -> Any:
        return features["audio_vector"]

    def warm_candidates(self) -> np.ndarray:
        return self.catalogue


def songs_of(count: int, seed: int) -> tuple[Wide, dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    candidates = rng.normal(size=(150, 384)).astype("float32")
    of = rng.integers(0, 150, count)
    vectors = candidates[of] + 0.5 * rng.normal(size=(count, 384)).astype("float32")
    features = {"audio_vector": vectors.astype("float32"), "audio_tempo": np.full(count, np.nan, "float32")}
    return Wide(candidates), features, np.stack([of, np.full(count, -1)], axis=1)


def test_the_best_matches_of_a_model_that_is_right_have_the_largest_chances() -> None:
    model, features, right = songs_of(120, seed=0)
    found = fit_chances(model, (features, right))
    assert found is not None
    scores = -np.sort(-(features["audio_vector"] @ model.catalogue.T), axis=1)[:, :100]
    chance = predict(found, scores, np.ones(120))[0]
    assert chance[:, 0].mean() > 0.6
    assert chance[:, 50:].mean() < 0.01


@pytest.mark.parametrize("count", [0, 1, 49])
def test_too_few_songs_give_none(count: int) -> None:
    model, features, right = songs_of(count, seed=1)
    assert fit_chances(model, (features, right)) is None


def test_songs_without_truth_or_hits_give_none() -> None:
    model, features, right = songs_of(80, seed=2)
    assert fit_chances(model, (features, np.full_like(right, -1))) is None
    worst = np.argmin(features["audio_vector"] @ model.catalogue.T, axis=1)[:, None]
    assert fit_chances(model, (features, worst)) is None
