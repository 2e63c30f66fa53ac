"""The training stream's draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bcl_keras.data import PairStream

ANCHORS = np.array([0, 0, 0, 1, 2, 2])
POSITIVES = np.array([1, 2, 3, 0, 3, 0])
WEIGHTS = np.array([6.0, 3.0, 1.0, 1.0, 1.0, 1.0])
SONGS = 4


def stream(**kwargs: Any) -> PairStream:
    return PairStream((ANCHORS, POSITIVES, WEIGHTS), SONGS, **{"batch_size": 64, **kwargs})


def collected(source: PairStream, name: str, batches: int = 60) -> np.ndarray:
    return np.concatenate([source[i][0][name] for i in range(batches)])


def test_batches_are_rows_of_equal_length() -> None:
    (batch,) = stream(negatives="uniform", with_log_q=True)[0]
    assert {name: rows.shape for name, rows in batch.items()} == {
        "anchor": (64,),
        "positive": (64,),
        "contrast": (64,),
        "negative": (64,),
        "known_positives": (64, 20),
        "positive_log_q": (64,),
    }
    assert {str(rows.dtype) for name, rows in batch.items() if name != "positive_log_q"} == {"int32"}


def test_anchors_uniform_over_songs_that_have_pairs() -> None:
    counts = np.bincount(collected(stream(), "anchor"), minlength=SONGS)
    assert counts[3] == 0
    np.testing.assert_allclose(counts[:3] / counts.sum(), 1 / 3, atol=0.005)


def test_anchors_follow_the_power_of_popularity() -> None:
    popularity = np.array([16.0, 4.0, 1.0, 99.0])
    for power in (0.5, 1.0):
        expected = np.append(popularity[:3] ** power, 0.0)
        counts = np.bincount(collected(stream(popularity=popularity, anchor_power=power), "anchor"), minlength=SONGS)
        np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.01)


def test_songs_that_are_no_candidates_are_anchors_alone() -> None:
    anchors, positives = np.append(ANCHORS, [5, 5]), np.append(POSITIVES, [2, 3])
    source = PairStream(
        (anchors, positives, np.append(WEIGHTS, [1.0, 1.0])),
        SONGS,
        num_rows=6,
        batch_size=64,
        negatives="uniform",
        with_log_q=True,
        popularity=[4.0, 4.0, 4.0, 4.0, 9.0, 1.0],
        anchor_power=0.5,
    )
    drawn = collected(source, "anchor")
    counts = np.bincount(drawn, minlength=6)
    np.testing.assert_allclose(counts / counts.sum(), np.array([2, 2, 2, 0, 0, 1]) / 7, atol=0.01)
    assert set(collected(source, "positive")[drawn == 5]) == {2, 3}
    for name in ("positive", "negative", "contrast"):
        assert collected(source, name).max() < SONGS
    (batch,) = source[0]
    assert set(batch["known_positives"][batch["anchor"] == 5][0, :2]) == {2, 3}


def test_positives_follow_similarity() -> None:
    source = stream()
    anchors, positives = collected(source, "anchor"), collected(source, "positive")
    assert {(a, p) for a, p in zip(anchors, positives, strict=True)} <= set(zip(ANCHORS, POSITIVES, strict=True))
    counts = np.bincount(positives[anchors == 0], minlength=SONGS)[1:]
    assert stats.chisquare(counts, counts.sum() * WEIGHTS[:3] / WEIGHTS[:3].sum()).pvalue > 1e-3


def test_log_q_is_the_share_of_each_positive() -> None:
    source = stream(with_log_q=True)
    positives, log_q = collected(source, "positive"), collected(source, "positive_log_q")
    shares = np.bincount(positives, minlength=SONGS) / len(positives)
    for song in range(SONGS):
        assert np.exp(log_q[positives == song][0]) == pytest.approx(shares[song], abs=0.02)


def test_known_positives_are_the_strongest_first() -> None:
    (batch,) = stream(known_positives=2)[0]
    row = int(np.flatnonzero(batch["anchor"] == 0)[0])
    np.testing.assert_array_equal(batch["known_positives"][row], [1, 2])
    row = int(np.flatnonzero(batch["anchor"] == 1)[0])
    np.testing.assert_array_equal(batch["known_positives"][row], [0, -1])
    assert "known_positives" not in stream(known_positives=0)[0][0]


@pytest.mark.parametrize(("over", "rows"), [("warm", 50), ("catalogue", 80)])
def test_contrastive_batch_is_uniform_over_its_songs(over: Any, rows: int) -> None:
    anchors = np.zeros(10, int)
    source = PairStream((anchors, anchors + 1, np.ones(10)), 50, num_rows=80, batch_size=16, contrast_over=over)
    counts = np.bincount(collected(source, "contrast", batches=500), minlength=80)
    assert (counts[rows:] == 0).all()
    assert stats.chisquare(counts[:rows]).pvalue > 1e-3
    assert len(np.unique(source[0][0]["contrast"])) == 16


def test_contrastive_batch_can_be_left_out() -> None:
    assert "contrast" not in stream(contrast_over="none")[0][0]


def test_uniform_negatives_cover_the_warm_songs() -> None:
    counts = np.bincount(collected(stream(negatives="uniform"), "negative"), minlength=SONGS)
    np.testing.assert_allclose(counts / counts.sum(), 1 / SONGS, atol=0.02)


def test_draws_depend_on_seed_epoch_and_place_alone() -> None:
    first, again = stream(), stream()
    np.testing.assert_array_equal(first[3][0]["positive"], again[3][0]["positive"])
    again.epoch = 1
    assert (first[3][0]["positive"] != again[3][0]["positive"]).any()
    assert (first[3][0]["positive"] != first[4][0]["positive"]).any()
    assert (first[3][0]["positive"] != stream(seed=1)[3][0]["positive"]).any()


def test_an_epoch_covers_the_pairs_once_by_default() -> None:
    assert len(stream(batch_size=4)) == 2
    assert len(stream(steps_per_epoch=7)) == 7


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 1}, "`batch_size` must be at least 2: negatives come from the batch. Received: 1"),
        ({"num_rows": 3}, "`num_rows` must be at least 4, the warm songs. Received: 3"),
        ({"negatives": "hard"}, "`negatives` must be one of .* Received: 'hard'"),
        ({"contrast_over": "pairs"}, "`contrast_over` must be one of .* Received: 'pairs'"),
        ({"anchor_power": 1.0}, "`popularity` must be given for `anchor_power` other than 0. Received: 1.0"),
        ({"anchor_power": 1.0, "popularity": [1.0]}, r"`popularity` must hold 4 numbers .* Received: shape \(1,\)"),
    ],
)
def test_setting_messages(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(**kwargs)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (([], [], []), r"`pairs` must hold three arrays of one length above 0. Received: shapes \(\(0,\)"),
        (([0], [1, 2], [1.0]), "`pairs` must hold three arrays of one length above 0"),
        (([0], [4], [1.0]), "`pairs` must hold rows of warm songs, 0 to 3. Received: 4 to 4"),
        (([-1, 2], [0, 0], [1.0, 1.0]), "`pairs` must hold rows, 0 to 3. Received: -1 to 2"),
        (([4], [0], [1.0]), "`pairs` must hold rows, 0 to 3. Received: 4 to 4"),
        (([0.0], [1], [1.0]), "`pairs` must hold rows, which are integers. Received: dtype float64"),
        (([0], [1], [0.0]), "`pairs` must hold finite similarities above 0. Received: 0.0"),
        (([0], [1], [np.nan]), "`pairs` must hold finite similarities above 0. Received: nan"),
    ],
)
def test_pair_messages(pairs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PairStream(pairs, SONGS)
