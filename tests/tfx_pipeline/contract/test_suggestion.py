"""The mapping that is suggested for a folder: it is right, it can be used as it is, and doubts are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import ColumnNames, check
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.suggestion.mapping import Suggestion, suggest

MANY = 60
TRACKS = [f"spotify:track:{i:02d}é" for i in range(MANY)]
SONGS: dict[str, Any] = {
    "Name": [f"Song {i}" for i in range(MANY)],
    "isrc": [f"DE{i:09d}" for i in range(MANY)],
    "uri": TRACKS,
    "Genre Liste": [["rock", "pop"][: i % 3] for i in range(MANY)],
    "Künstler": [f"artist {i % 7}" for i in range(MANY)],
    "tempo": [80.0 + i for i in range(MANY)],
    "x1": [0.1 * i for i in range(MANY)],
    "popularity": list(range(MANY)),
}
PLAYS: dict[str, Any] = {
    "who": [f"w{i % 9}" for i in range(4 * MANY)],
    "device": [f"d{i % 2}" for i in range(4 * MANY)],
    "what": TRACKS * 4,
    "play_count": [1 + i % 3 for i in range(4 * MANY)],
    "starred": [i % 2 == 0 for i in range(4 * MANY)],
    "played_at": pa.array([1793491200 + i for i in range(4 * MANY)], pa.timestamp("s")),
}


def write(folder: Path, songs: dict[str, Any], plays: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(songs), folder / "songs.parquet")
    pq.write_table(pa.table(plays), folder / "plays.parquet")
    return folder


def doubts_about(found: Suggestion, name: str) -> list[str]:
    return [doubt for doubt in found.doubts if f"`{name}`" in doubt]


def test_values_say_which_ids_agree_and_names_say_the_rest(tmp_path: Path) -> None:
    found = suggest(write(tmp_path, SONGS, PLAYS))
    assert found.columns.songs == {
        "uri": "song_id",
        "Genre Liste": "attribute_Genre_Liste",
        "Künstler": "attribute_K_nstler",
        "tempo": "audio_tempo",
        "x1": "audio_x1",
    }
    assert found.columns.plays == {
        "what": "song_id",
        "who": "user_id",
        "play_count": "plays",
        "starred": "liked",
        "played_at": "timestamp",
    }
    assert "user_id by its values alone" in doubts_about(found, "who")[0]
    assert "audio, because of the type" in doubts_about(found, "x1")[0]
    assert not doubts_about(found, "tempo")
    assert "for display only" in doubts_about(found, "popularity")[0]


def test_what_is_suggested_can_be_used_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = write(tmp_path / "in", SONGS, PLAYS)
    assert main(["--suggest", str(given)]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "settings.json").write_text(out, encoding="utf-8")
    assert err.startswith("not sure: ")
    catalogue = check(given, columns=ColumnNames.read(tmp_path / "settings.json"))
    assert (catalogue.num_songs, catalogue.num_users, catalogue.num_plays) == (MANY, 9, 4 * MANY)
    assert catalogue.plays_columns == ("user_id", "song_id", "plays", "liked", "timestamp")


def test_csv_and_days_are_suggested_alike(tmp_path: Path) -> None:
    expected = suggest(write(tmp_path / "parquet", SONGS, PLAYS)).columns
    write(tmp_path / "days" / "span-1", SONGS, PLAYS)
    assert suggest(tmp_path / "days").columns == expected
    (tmp_path / "csv").mkdir()
    flat = {**SONGS, "Genre Liste": ["rock|pop" if i % 3 else "" for i in range(MANY)]}
    pa.csv.write_csv(pa.table(flat), tmp_path / "csv" / "songs.csv")
    pa.csv.write_csv(pa.table(PLAYS), tmp_path / "csv" / "plays.csv")
    assert suggest(tmp_path / "csv").columns == expected


def test_a_folder_in_the_contracts_names_needs_no_mapping(tmp_path: Path) -> None:
    songs = {"song_id": TRACKS, "attribute_genre": ["a", "b", "c"] * 20, "audio_x": [1.0] * MANY}
    found = suggest(write(tmp_path, songs, {"user_id": ["u"] * MANY, "song_id": TRACKS}))
    assert json.loads(found.as_settings()) == {"columns": {"songs": {}, "plays": {}}}
    assert found.doubts == ()


def test_two_columns_with_the_same_ids_are_a_doubt(tmp_path: Path) -> None:
    found = suggest(write(tmp_path, {"key": TRACKS, "track_id": TRACKS, "g": ["a", "b"] * 30}, PLAYS))
    assert found.columns.songs["track_id"] == "song_id"
    assert "`key` has the same values" in doubts_about(found, "track_id")[0]


def test_ids_that_are_numbers_are_a_doubt(tmp_path: Path) -> None:
    plays = {"account": [i % 5 for i in range(MANY)], "id": list(range(MANY))}
    found = suggest(write(tmp_path, {"id": list(range(MANY)), "g": ["a", "b"] * 30}, plays))
    assert found.columns.plays == {"id": "song_id", "account": "user_id"}
    assert [doubt for doubt in found.doubts if "Write the ids as strings" in doubt and "`account`" in doubt]


def test_tables_that_have_nothing_in_common_are_not_mapped(tmp_path: Path) -> None:
    found = suggest(write(tmp_path, {"a": ["x", "y"], "b": [1.0, 2.0]}, {"c": ["p", "p"], "d": ["q", "r"]}))
    assert "song_id" not in {**found.columns.songs, **found.columns.plays}.values()
    assert any("map `song_id` by hand" in doubt for doubt in found.doubts)


def test_nothing_to_go_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = suggest(write(tmp_path, {"a": pa.array([], pa.string())}, {"b": pa.nulls(3)}))
    assert found.columns == ColumnNames()
    assert main(["--suggest", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
