"""Held-out songs: a tenth that no split has, validation songs that are never test songs, test songs that rotate."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.splits import FOLDS, LAST, LEAST_LISTENERS, split_of
from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM

SONGS = [*(f"song {number}".encode() for number in range(4_000)), *(f"曲 {n}\n".encode() for n in range(1_000))]
LISTENERS = np.arange(len(SONGS)) % 7


@pytest.fixture(scope="module")
def splits() -> np.ndarray:
    """(two rounds of folds, songs)."""
    return np.stack([split_of(SONGS, LISTENERS, seed) for seed in range(2 * FOLDS)])


def test_every_song_has_one_part_and_few_listeners_make_it_new(splits: np.ndarray) -> None:
    assert set(np.unique(splits)) == {WARM, VALIDATION, TEST, NEW, LAST}
    assert ((splits == NEW) == (LISTENERS < LEAST_LISTENERS)).all()
    judged = LISTENERS >= LEAST_LISTENERS
    for name in (LAST, VALIDATION, TEST):
        assert np.mean(splits[:, judged] == name) == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize("name", [LAST, VALIDATION])
def test_the_same_songs_are_held_out_in_every_split(splits: np.ndarray, name: str) -> None:
    assert ((splits == name) == (splits[0] == name)).all()


def test_test_songs_rotate_without_overlap_and_then_are_drawn_anew(splits: np.ndarray) -> None:
    tested = splits == TEST
    candidates = (LISTENERS >= LEAST_LISTENERS) & ~np.isin(splits[0], (LAST, VALIDATION))
    for round_ in (tested[:FOLDS], tested[FOLDS:]):
        assert (round_.sum(axis=0) == candidates).all()  # each song once
    shared = np.sum(tested[0] & tested[FOLDS:], axis=1) / tested[0].sum()
    assert (shared < 0.3).all()  # a new round is another partition: an eighth in common by chance


def test_a_song_has_the_same_part_in_any_data_set() -> None:
    part = np.arange(0, len(SONGS), 3)[::-1]
    whole = split_of(SONGS, LISTENERS, 3)
    assert split_of([SONGS[row] for row in part], LISTENERS[part], 3).tolist() == whole[part].tolist()
    assert split_of([], [], 0).tolist() == []
