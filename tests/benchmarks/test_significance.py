"""The tests and intervals of the study: by hand, and on nulls and catalogues made for them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.significance import SongDraws, holm, mean_of_splits, p_over_splits


def test_holm_is_the_step_down_rule() -> None:
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "none": float("nan")})
    assert corrected["a"] == pytest.approx(0.03)
    assert corrected["c"] == corrected["b"] == pytest.approx(0.06)
    assert np.isnan(corrected["none"])


def test_p_is_that_of_nadeau_and_bengio() -> None:
    rng = np.random.default_rng(1)
    first = [rng.normal(0.3, 0.1, 200) for _ in range(5)]
    second = [values - rng.normal(0.02, 0.05, 200) for values in first]
    differences = np.array([one.mean() - other.mean() for one, other in zip(first, second, strict=True)])
    plain = stats.ttest_1samp(differences, 0)
    # Their t is the plain one times the root of (1 / J) over (1 / J + test songs / songs learnt from).
    expected = 2 * stats.t(4).sf(abs(plain.statistic) * np.sqrt(0.2 / (0.2 + 0.125)))
    assert p_over_splits(first, second, 0.125) == pytest.approx(expected)
    assert p_over_splits(first, second, 0.0) == pytest.approx(plain.pvalue)
    assert p_over_splits(second, first, 0.125) == pytest.approx(expected)
    assert np.isnan(p_over_splits(first[:1], second[:1], 0.125)) and np.isnan(p_over_splits(first, first, 0.125))


@pytest.mark.parametrize("splits", [5, 15])
def test_overlapping_splits_reject_as_often_as_they_say(splits: int) -> None:
    """Two rows that do not differ, on splits of one pool with a tenth of its songs each."""
    rng, pool, size, studies = np.random.default_rng(splits), 300, 30, 600
    rejected = np.zeros(2)
    for _ in range(studies):
        songs = rng.normal(0, 1, pool)
        first = [songs[rng.permutation(pool)[:size]] for _ in range(splits)]
        second = [np.zeros(size)] * splits
        rejected += [p_over_splits(first, second, ratio) < 0.05 for ratio in (size / (pool - size), 0.0)]
    corrected, plain = rejected / studies
    assert 0.03 < corrected < 0.07
    assert plain > 0.08  # the plain test says 5 % and rejects more often


def test_an_interval_is_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(2)
    songs = np.split(np.arange(3_600), 4)  # no song returns
    values = [rng.normal(split, 1.0, (900, 1)) * [1.0, 2.0] for split in range(4)]
    values[0][:5, 1] = np.nan
    drawn = SongDraws(songs).means(values)
    for column, size in ((0, 1.0), (1, 2.0)):
        low, high = np.quantile(drawn[:, column], (0.025, 0.975))
        value = mean_of_splits([table[:, column] for table in values])
        half = 1.96 * size / np.sqrt(3_600)
        assert high - value == pytest.approx(half, rel=0.2) and value - low == pytest.approx(half, rel=0.2)
    # Columns are drawn together: one is the double of the other in every draw.
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0], rtol=1e-4)


def test_a_song_that_returns_is_no_new_evidence() -> None:
    """Four splits that judge the same songs say as much as one; as independent songs they would say twice as much."""
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (400, 1))
    order = [rng.permutation(400) for _ in range(4)]
    names = np.arange(400) + 10**17
    once = SongDraws([names]).means([values]).std()
    returning = SongDraws([names[rows] for rows in order]).means([values[rows] for rows in order]).std()
    apart = SongDraws([names + 1_000 * split for split in range(4)]).means([values] * 4).std()
    assert returning == pytest.approx(once, rel=0.1)
    assert apart == pytest.approx(once / 2, rel=0.1)
