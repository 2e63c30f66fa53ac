"""Whether chances come true: figures by hand, songs that do not count, and tables without chances."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from tfx_pipeline.evaluation.chance_report import chance_report
from tfx_pipeline.models.song_table import SongTable

_LISTS = pa.list_(pa.float32())
SCHEMA = pa.schema([("song_id", pa.string()), ("match_ids", pa.list_(pa.string())), ("match_chances", _LISTS)])
WARM = [f"w{n:03d} \u05e9" for n in range(40)]


def songs(truth: dict[str, list[str]], splits: dict[str, str]) -> SongTable:
    """A table of the warm songs and others, with the songs that are right for these."""
    ids = np.array(sorted(name.encode() for name in [*WARM, *truth]))
    names = [name.decode() for name in ids.tolist()]
    similar = np.full((len(ids), 25), b"", ids.dtype)
    for name, right in truth.items():
        similar[names.index(name), : len(right)] = [one.encode() for one in right]
    of_split = np.array([splits.get(name, "warm") for name in names])
    none = np.zeros(len(ids))
    return SongTable(ids, of_split, {}, none, similar, np.zeros(similar.shape, np.float32))


def table(rows: Sequence[tuple[str, list[str], list[float] | None]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


TRUTH = {"t1": WARM[:25], "t2": WARM[:1], "t3": [], "v1": WARM[:20]}
SPLITS = {"t1": "test", "t2": "test", "t3": "test", "v1": "val"}


def test_figures_by_hand() -> None:
    long = [*WARM[:2], *WARM[20:40]]  # the first two are right; of the 25 songs of the truth 20 count
    rows = [
        ("t2", WARM[:2], [0.5, 0.25]),
        ("t1", long, [1.0] * 10 + [0.0] * 12),
        ("t3", WARM[:2], [1.0, 1.0]),  # nobody knows what is right for it
        ("v1", WARM[:2], [0.0, 0.0]),  # it may have been fitted on
        ("n1", WARM[:2], [0.0, 0.0]),  # not of the table
    ]
    report = chance_report(songs(TRUTH, SPLITS), table(rows))
    assert report is not None and report["songs"] == 2
    ten, all_matches = report["first"]
    assert (ten["matches"], all_matches["matches"]) == (10, 100)
    assert ten["chance"] == pytest.approx(10.75 / 12) and ten["right"] == pytest.approx(3 / 12)
    assert all_matches["chance"] == pytest.approx(10.75 / 24) and all_matches["right"] == pytest.approx(3 / 24)
    # Each of the 12 matches is a group: .25 and right 0, .5 and 1, 1 and 1 twice, 1 and 0 eight times.
    assert ten["calibration_error"] == pytest.approx((0.25 + 0.5 + 8) / 12)
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("rows", [[], [("t1", WARM[:2], None)], [("t1", [], [])], [("v1", WARM[:1], [0.5])]])
def test_no_test_song_with_chances_is_no_report(rows: list) -> None:
    assert chance_report(songs(TRUTH, SPLITS), table(rows)) is None


def test_songs_of_which_some_have_no_chances_count_where_they_have() -> None:
    chunked = pa.concat_tables([table([("t1", WARM[:1], None)]), table([("t2", [WARM[3]], [0.25])])])
    report = chance_report(songs(TRUTH, SPLITS), chunked)
    assert report is not None and report["songs"] == 1
    assert report["first"][0] == {"matches": 10, "calibration_error": 0.25, "chance": 0.25, "right": 0.0}
