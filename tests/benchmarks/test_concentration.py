"""Concentration of matches: figures of lists whose answer is known, and of scores against their truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.quality.concentration import Concentration, against_truth, first_places, gini, skewness


def test_lists_that_share_all_places_evenly() -> None:
    lists = np.arange(40).reshape(20, 2) % 10  # each of 10 candidates 4 times
    found = Concentration.of(lists, np.full(10, 7.0))
    assert (found.coverage, found.hubness, found.popularity) == (1.0, 0.0, 1.0)
    assert found.gini == pytest.approx(0.0, abs=1e-12)


def test_one_hub_in_every_list() -> None:
    listeners = np.ones(1000)
    listeners[3] = 500.0
    found = Concentration.of(np.full((50, 1), 3), listeners)
    assert found.gini == pytest.approx(1 - 1 / 1000)
    assert found.coverage == pytest.approx(1 / 1000)
    assert found.hubness == pytest.approx((1000 - 2) / np.sqrt(1000 - 1))  # skewness of a Bernoulli variable
    assert found.popularity == pytest.approx(500 / 1.499)


@pytest.mark.parametrize("seed", range(3))
def test_gini_and_skewness_are_their_definitions(seed: int) -> None:
    counts = np.random.default_rng(seed).geometric(0.2, 60) - 1
    apart = np.abs(counts[:, None] - counts[None, :]).mean()
    assert gini(counts) == pytest.approx(apart / (2 * counts.mean()))
    assert skewness(counts) == pytest.approx(stats.skew(counts))


def test_blank_places_count_nowhere() -> None:
    lists = np.array([[2, -1, -1], [2, 0, -1], [-1, -1, -1]])
    found = Concentration.of(lists, np.array([1.0, 5.0, 10.0]))
    assert found.coverage == pytest.approx(2 / 3)
    assert found.popularity == pytest.approx((2 * 10 + 1) / 3 / (16 / 3))


@pytest.mark.parametrize("lists", [np.zeros((0, 10), int), np.full((3, 2), -1)])
def test_lists_that_name_nobody_have_no_figures(lists: np.ndarray) -> None:
    assert all(np.isnan(value) for value in Concentration.of(lists, np.ones(4)).to_dict().values())


def test_a_place_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"places from -1 to 3\. Received: 0 to 4"):
        Concentration.of(np.array([[0, 4]]), np.ones(4))


def test_first_places_are_the_ranking_with_ties_by_position() -> None:
    scores = np.random.default_rng(0).integers(0, 4, (300, 25)).astype("float32")
    expected = [sorted(range(25), key=lambda place: (-row[place], place))[:10] for row in scores]
    np.testing.assert_array_equal(first_places(scores), expected)
    assert first_places(scores[:, :6]).shape == (300, 6)


def test_only_songs_whose_truth_fills_the_list_are_compared() -> None:
    truth = np.array([[0, 1], [2, -1], [3, 2]])
    scores = np.array([[3.0, 2, 1, 0], [0, 0, 0, 9], [3, 2, 1, 0]])
    matches, right = against_truth(scores, truth, np.array([8.0, 4, 2, 2]), places=2)
    assert (matches.coverage, right.coverage) == (0.5, 1.0)
    assert (matches.gini, right.gini) == (pytest.approx(0.5), pytest.approx(0.0))
    assert (matches.popularity, right.popularity) == (pytest.approx(1.5), pytest.approx(1.0))
    with pytest.raises(ValueError, match=r"at least 3 places\. Received: 2"):
        against_truth(scores, truth, np.ones(4), places=3)
