"""Rows of matches from models with and without explanations, and of songs without known values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.any_text import AWKWARD
from tfx_pipeline.contract.schemas import CHANCES
from tfx_pipeline.evaluation.match_rows import MATCH_ROWS, match_row
from tfx_pipeline.targeting.data.takedown import drop_matches

PLAIN = {
    "song_ids": np.array([[b"a", "\u05e9".encode(), b"c"]], object),
    "scores": np.array([[0.5, 0.25, -0.5]], np.float32),
    "known_fields": np.array([2], np.int32),
}
EXPLAINED = {
    "shares": np.array([[[0.25, 0.25], [0.5, -0.25], [0.0, -0.5]]], np.float32),
    "share_names": np.array([[b"attribute_genre", b"rest"]], object),
    "evidence": np.array([[1.5]], np.float32),
    "evidence_names": np.array([[b"deviation_0"]], object),
    "chance": np.array([[0.75, 0.5, 0.0]], np.float32),
    "chance_low": np.array([[0.5, 0.25, 0.0]], np.float32),
    "chance_high": np.array([[1.0, 0.75, 0.125]], np.float32),
}


@pytest.mark.parametrize("flat", [False, True])
def test_a_row_has_every_output_of_the_model(flat: bool) -> None:
    outputs = {name: values.reshape(-1) if flat else values for name, values in (PLAIN | EXPLAINED).items()}
    table = pa.Table.from_pylist([match_row("new", "val", outputs)], MATCH_ROWS)
    assert table.to_pylist() == [
        {
            "song_id": "new",
            "split": "val",
            "match_ids": ["a", "\u05e9", "c"],
            "match_scores": [0.5, 0.25, -0.5],
            "match_shares": [[0.25, 0.25], [0.5, -0.25], [0.0, -0.5]],
            "share_names": ["attribute_genre", "rest"],
            "known_fields": 2,
            "evidence": [1.5],
            "evidence_names": ["deviation_0"],
            "match_chances": [0.75, 0.5, 0.0],
            "match_chances_low": [0.5, 0.25, 0.0],
            "match_chances_high": [1.0, 0.75, 0.125],
        }
    ]


def test_outputs_that_the_model_lacks_are_null() -> None:
    (row,) = pa.Table.from_pylist([match_row("new", "new", PLAIN)], MATCH_ROWS).to_pylist()
    assert row["match_ids"] and row["known_fields"] == 2
    assert {row[name] for name in ("match_shares", "share_names", "evidence", "evidence_names", *CHANCES)} == {None}


def test_a_model_that_does_not_count_known_fields_keeps_its_matches() -> None:
    older = {name: values for name, values in PLAIN.items() if name != "known_fields"}
    (row,) = pa.Table.from_pylist([match_row("new", "new", older)], MATCH_ROWS).to_pylist()
    assert row["known_fields"] is None and row["match_ids"] == ["a", "\u05e9", "c"]


def test_shares_and_chances_of_matches_that_were_taken_down_go_with_them() -> None:
    rows = [
        match_row("n1", "new", PLAIN | EXPLAINED),
        match_row("n2", "new", PLAIN),
        match_row("c", "new", PLAIN | EXPLAINED),
    ]
    unknown = match_row("n3", "new", PLAIN | EXPLAINED | {"known_fields": np.array([0])})
    table = pa.Table.from_pylist([*rows, unknown, match_row("n4", "new", PLAIN | EXPLAINED)], MATCH_ROWS)
    left = {row["song_id"]: row for row in drop_matches(table, ["a", "c"]).to_pylist()}
    assert list(left) == ["n1", "n2", "n3", "n4"]
    for song in ("n1", "n4"):
        assert left[song]["match_ids"] == ["\u05e9"] and left[song]["match_shares"] == [[0.5, -0.25]]
        assert [left[song][column] for column in CHANCES] == [[0.5], [0.25], [0.75]]
    assert (left["n2"]["match_ids"], left["n2"]["match_shares"]) == (["\u05e9"], None)
    assert left["n2"]["match_chances"] is None
    assert left["n3"]["match_ids"] == left["n3"]["match_shares"] == left["n3"]["match_chances"] == []
    everything = drop_matches(table, ["a", "\u05e9", "c"]).to_pylist()
    assert [row["match_shares"] for row in everything] == [[], None, [], []]


@pytest.mark.parametrize("explained", [{}, EXPLAINED])
@pytest.mark.parametrize("song_id", AWKWARD[:3])
def test_a_song_unknown_to_the_model_has_no_matches(explained: dict[str, np.ndarray], song_id: str) -> None:
    unknown = PLAIN | explained | {"known_fields": np.array([0], np.int32)}
    (row,) = pa.Table.from_pylist([match_row(song_id, "new", unknown)], MATCH_ROWS).to_pylist()
    assert row["song_id"] == song_id and row["match_ids"] == row["match_scores"] == []
    assert row["match_shares"] == row["match_chances_low"] == ([] if explained else None)
