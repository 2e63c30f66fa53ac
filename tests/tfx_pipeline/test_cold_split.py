"""The rule that holds songs out."""

import numpy as np
import pytest

from tfx_pipeline.cold_split import NEW, TEST, VALIDATION, WARM, ColdSplit, unit_hash


def test_shares_are_kept_and_the_salt_changes_who_is_held_out():
    ids = [str(number).encode() for number in range(20_000)]
    first = np.array([ColdSplit().assign(song, 10) for song in ids])
    second = np.array([ColdSplit(salt="other").assign(song, 10) for song in ids])
    for split, share in ((VALIDATION, 0.1), (TEST, 0.1), (WARM, 0.8)):
        assert np.mean(first == split) == pytest.approx(share, abs=0.01)
    held_out = first == TEST
    assert np.mean(second[held_out] == TEST) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(("listeners", "expected"), [(0, {NEW}), (1, {NEW}), (2, {NEW}), (3, {WARM, VALIDATION, TEST})])
def test_few_listeners_say_too_little(listeners, expected):
    assert {ColdSplit().assign(str(song).encode(), listeners) for song in range(200)} == expected


def test_unit_hash_is_uniform_and_fixed():
    draws = np.array([unit_hash(str(number).encode(), "salt") for number in range(10_000)])
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 27.9  # chi-square with 9 degrees of freedom, p = .001
    assert unit_hash(b"a", "x") == unit_hash(b"a", "x") != unit_hash(b"a", "y")


def test_bad_shares_are_refused():
    with pytest.raises(ValueError, match="sum to less than 1.*test_share=0.6"):
        ColdSplit(validation_share=0.5, test_share=0.6)
    with pytest.raises(ValueError, match="`min_listeners` must be at least 1. Received: 0"):
        ColdSplit(min_listeners=0)
