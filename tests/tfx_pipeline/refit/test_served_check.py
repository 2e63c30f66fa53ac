"""Matches of two models compared, and the reasons not to push a model."""

import re

import numpy as np
import pytest

from tfx_pipeline.refit.check import Embedded, Overlap, overlap_of, problems

SPLITS = np.array(["new", "val", "new"])


def ranking(*orders: list[int]) -> Embedded:
    """A model that finds candidates in these orders, a song each."""
    count = len(orders[0])
    queries = np.zeros((len(orders), count), np.float32)
    for row, order in enumerate(orders):
        queries[row, order] = np.arange(count, 0, -1)
    return Embedded(queries, np.eye(count, dtype=np.float32))


def test_the_share_of_first_matches_in_common():
    judged = ranking([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5])
    served = ranking([2, 1, 0, 3, 4, 5], [3, 4, 0, 1, 2, 5], [5, 4, 3, 2, 1, 0])
    found = overlap_of(judged, served, SPLITS, 3)
    assert (found.k, found.songs, found.by_chance) == (3, 3, 0.5)
    assert found.by_split == {"new": 0.5, "val": pytest.approx(1 / 3)}
    assert found.mean == pytest.approx(4 / 9)
    assert overlap_of(judged, judged, SPLITS, 3).mean == 1.0
    # Lengths, turns and the length of vectors are nobody's business.
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0].astype("float32")
    turned = Embedded(3 * judged.queries @ turn, judged.candidates @ turn)
    assert overlap_of(judged, turned, SPLITS, 3).mean == 1.0


def test_many_songs_and_few_candidates():
    rng = np.random.default_rng(1)
    one = Embedded(rng.normal(size=(1300, 8)), rng.normal(size=(400, 8)))
    other = Embedded(rng.normal(size=(1300, 5)), rng.normal(size=(400, 5)))
    found = overlap_of(one, other, np.full(1300, "test"), 40)
    assert found.songs == 1300 and found.mean == pytest.approx(found.by_chance, abs=0.02)
    few = overlap_of(
        Embedded(one.queries, one.candidates[:7]),
        Embedded(other.queries, other.candidates[:7]),
        np.full(1300, "val"),
        40,
    )
    assert (few.k, few.mean, few.by_chance) == (7, 1.0, 1.0)
    nobody = overlap_of(
        Embedded(one.queries[:0], one.candidates), Embedded(one.queries[:0], one.candidates), SPLITS[:0], 9
    )
    assert (nobody.songs, nobody.mean, nobody.by_split) == (0, 1.0, {})


GOOD = Overlap(50, 200, 0.8, {"new": 0.8}, 0.1)
ROWS = (np.ones((3, 2)), np.ones((4, 2)))
IDS = frozenset({"a", "b"})


def test_a_good_model_has_no_problem():
    assert problems(ROWS, IDS, IDS, GOOD, 0.8) == []
    assert problems(ROWS, IDS, IDS, None, 0.8) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"served": (ROWS[0], np.array([[1.0, np.nan], [np.inf, 0.0], [1.0, 1.0]]))}, "NaN or infinity in 2 of them"),
        ({"index": frozenset({"a"})}, "all 2 songs with enough listeners. Received: one of 1 songs, without b"),
        ({"index": IDS | {"c"}}, "Received: one of 3 songs, with others, such as c"),
        ({"least": 0.81}, "at least 0.81 of the first 50 matches .* Received: 0.80 over 200 songs"),
    ],
)
def test_every_problem_is_named(given, shown):
    arguments = {"served": ROWS, "index": IDS, "warm": IDS, "overlap": GOOD, "least": 0.8} | given
    (found,) = problems(**arguments)
    assert re.search(shown, found)
