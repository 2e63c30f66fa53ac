"""Figures of chances: planted chances come true, and chances that are wrong are seen."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.chances import Judged, figures, groups_within, joined, least_error
from tfx_pipeline.models.calibration import calibration_error


def planted(songs: int, seed: int, *, shift: float = 0.0, spread: float = 0.0) -> Judged:
    """Chances that are true but for `shift`; the songs' own chances differ by `spread`."""
    rng = np.random.default_rng(seed)
    chance = -np.sort(-rng.uniform(0.2, 0.6, (songs, 100)), axis=1)
    of_song = rng.uniform(-spread, spread, (songs, 1))
    hits = rng.random(chance.shape) < chance + of_song
    given = chance + shift
    return Judged(given, given - 1e-6, given + 1e-6, hits)


def test_true_chances_have_the_least_error_and_lie_within() -> None:
    parts = [planted(400, seed) for seed in range(4)]
    found = figures(parts)
    assert found["test_songs"] == 1600
    for places in (10, 50, 100):
        first = found[f"first {places}"]
        assert first["error"] == pytest.approx(first["least"], rel=0.5)
        assert first["chance"] == pytest.approx(first["right"], abs=0.01)
        assert first["within"] > 0.85
    assert found["first 10"]["right"] > found["first 100"]["right"]


def test_wrong_chances_are_seen() -> None:
    found = figures([planted(400, 0, shift=0.1)])["first 100"]
    assert found["error"] == pytest.approx(0.1, abs=0.01) and found["within"] == 0.0
    assert found["least"] < 0.02


def test_songs_that_differ_are_no_sign_of_wrong_chances() -> None:
    """Matches of a song are alike: an interval that counts single matches would call a third of the groups wrong."""
    inside = np.concatenate([groups_within(planted(60, seed, spread=0.2)) for seed in range(20)])
    assert 0.88 < inside.mean() < 0.99


def test_the_least_error_is_that_of_drawn_hits() -> None:
    rng = np.random.default_rng(1)
    chance = rng.random((200, 10))
    drawn = [calibration_error(chance, rng.random(chance.shape) < chance) for _ in range(40)]
    assert least_error(chance) == pytest.approx(float(np.mean(drawn)), rel=0.15)
    assert least_error(np.ones((5, 3))) == 0.0


def test_songs_of_parts_are_joined() -> None:
    whole = joined([planted(3, 0), planted(2, 1)])
    assert whole.first(10).hits.shape == (5, 10) and whole.low.shape == whole.high.shape == (5, 100)
