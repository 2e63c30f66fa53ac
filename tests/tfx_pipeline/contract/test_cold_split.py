"""The rule that holds songs out."""

import itertools
from dataclasses import asdict
from datetime import datetime, timezone

import numpy as np
import pytest

from tfx_pipeline.contract.splits import NEW, TEST, VALIDATION, WARM, ColdSplit, unit_hash


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


IDS = [str(number).encode() for number in range(5_000)]


def held_out(split: ColdSplit) -> set[bytes]:
    return {song for song in IDS if split.assign(song, 10) != WARM}


def test_other_songs_are_held_out_in_another_period_and_in_time_every_song_teaches():
    months = [ColdSplit(rotate="month", period=f"2026-{month:02}") for month in range(1, 13)]
    by_month = [held_out(split) for split in months]
    assert held_out(ColdSplit(rotate="month", period="2026-03")) == by_month[2]  # the same all month
    assert all(len(first & second) < 0.3 * len(first) for first, second in itertools.pairwise(by_month))
    assert not set.intersection(*by_month)
    long = "a salt of more bytes than a key may have, so that what follows it is cut off and counts no more"
    weeks = [ColdSplit(salt=long, rotate="week", period=f"2026-W{week}") for week in (10, 11)]
    assert held_out(weeks[0]) != held_out(weeks[1])


@pytest.mark.parametrize(("rotate", "form"), [("month", "%Y-%m"), ("week", "%G-W%V"), ("none", "")])
def test_the_period_is_that_in_which_the_rule_is_made_and_travels_with_it(rotate, form):
    times = [datetime.now(timezone.utc)]
    split = ColdSplit(rotate=rotate)
    times.append(datetime.now(timezone.utc))
    assert split.period in {time.strftime(form) for time in times}
    assert ColdSplit(**asdict(split)) == split
    assert ColdSplit(**{**asdict(split), "period": "before"}).period == "before"
    if rotate == "none":
        assert held_out(split) == held_out(ColdSplit())


def test_without_held_out_songs_all_that_are_not_new_are_warm():
    split = ColdSplit(rotate="week", min_listeners=5).without_held_out()
    assert {split.assign(song, 5) for song in IDS} == {WARM} and {split.assign(song, 4) for song in IDS} == {NEW}


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({}, True),
        ({"min_listeners": 7}, True),
        ({"salt": "other"}, False),
        ({"rotate": "month"}, False),
        ({"validation_share": 0.2}, False),
    ],
)
def test_rules_that_hold_out_the_same_songs(other, alike):
    assert ColdSplit().holds_out_as(ColdSplit(**other)) is alike


def test_bad_shares_are_refused():
    with pytest.raises(ValueError, match=r"`rotate` must be one of .*'week'.*Received: 'year'"):
        ColdSplit(rotate="year")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"sum to less than 1.*test_share=0.6"):
        ColdSplit(validation_share=0.5, test_share=0.6)
    with pytest.raises(ValueError, match=r"`min_listeners` must be at least 1. Received: 0"):
        ColdSplit(min_listeners=0)
