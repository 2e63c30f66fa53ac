"""Columns with names of the user's own: every table is read by the setting, and messages name the user's columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import PLAYS, SONGS, ColumnNames, ContractError, SongField, check, prepare
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.id_lists import read_ids
from tfx_pipeline.contract.prepare import recorded_names
from tfx_pipeline.runtime.settings_codec import SettingsError

IDS = ["é-1", "b 2", "c"]
OWN_SONGS: dict[str, Any] = {
    "Track ID": IDS,
    "Stimmung (Genre)": ["rock", None, "folk"],
    "beats.per.minute": [120.0, 90.5, None],
    "название": ["Один", "Два", "Три"],
    "song_id": ["old-1", "old-2", "old-3"],
}
OWN_PLAYS: dict[str, Any] = {
    "listener": ["u", "v", "w w", "u"],
    "Track ID": ["é-1", "b 2", "c", "c"],
    "n": [1, 2, 3, 4],
    "when": ["2026-11-01", "2026-11-02", "2026-11-02T10:00:00Z", None],
}
COLUMNS = ColumnNames(
    songs={
        "Track ID": "song_id",
        "song_id": "legacy",
        "Stimmung (Genre)": "attribute",
        "beats.per.minute": "audio_tempo",
        "название": "title",
    },
    plays={"listener": "user_id", "Track ID": "song_id", "n": "plays", "when": "timestamp"},
)


def write(folder: Path, songs: dict[str, Any] | None = None, plays: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns in (("songs", OWN_SONGS | (songs or {})), ("plays", OWN_PLAYS | (plays or {}))):
        kept = {key: values for key, values in columns.items() if values is not None}
        pq.write_table(pa.table(kept), folder / f"{name}.parquet")
    return folder


def refusal(folder: Path, columns: ColumnNames = COLUMNS) -> str:
    with pytest.raises(ContractError) as error:
        check(folder, columns=columns)
    return str(error.value)


def prepared(folder: Path, out: Path) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    prepare(folder, out, columns=COLUMNS)
    return pq.read_table(out / SONGS).to_pydict(), pq.read_table(out / PLAYS).to_pydict()


SONGS_READ = {
    "song_id": IDS,
    "attribute_Stimmung_Genre": ["rock", None, "folk"],
    "audio_tempo": [120.0, 90.5, None],
    "title": ["Один", "Два", "Три"],
    "legacy": ["old-1", "old-2", "old-3"],
}
PLAYS_READ: dict[str, list[Any]] = {
    "user_id": ["u", "v", "w w", "u"],
    "song_id": ["é-1", "b 2", "c", "c"],
    "plays": [1, 2, 3, 4],
    "timestamp": [1793491200, 1793577600, 1793613600, None],
}


def test_the_pipeline_reads_the_names_of_the_contract(tmp_path: Path) -> None:
    songs, plays = prepared(write(tmp_path / "in"), tmp_path / "out")
    assert songs == SONGS_READ
    assert plays == PLAYS_READ
    assert recorded_names(tmp_path / "out") == COLUMNS


def test_csv_reads_the_same(tmp_path: Path) -> None:
    given = write(tmp_path / "in")
    (tmp_path / "csv").mkdir()
    for name in ("songs", "plays"):
        pa.csv.write_csv(pq.read_table(given / f"{name}.parquet"), tmp_path / "csv" / f"{name}.csv")
    assert prepared(tmp_path / "csv", tmp_path / "out") == (SONGS_READ, PLAYS_READ)


def test_days_read_the_same(tmp_path: Path) -> None:
    write(tmp_path / "in" / "date=2026-11-01", {"Stimmung (Genre)": ["jazz", "jazz", "jazz"]})
    write(tmp_path / "in" / "date=2026-11-02")
    songs, plays = prepared(tmp_path / "in", tmp_path / "out")
    assert songs == SONGS_READ
    assert plays["user_id"] == 2 * PLAYS_READ["user_id"]


def test_names_of_folders_are_columns_too(tmp_path: Path) -> None:
    given = write(tmp_path / "in", plays={"when": None})
    table = pq.read_table(given / "plays.parquet")
    (given / "plays.parquet").unlink()
    for day in ("2026-11-01", "2026-11-02 10%3A00"):  # as Hive writes a colon
        (given / "plays" / f"when={day}").mkdir(parents=True)
        pq.write_table(table, given / "plays" / f"when={day}" / "a part.parquet")
    _, plays = prepared(given, tmp_path / "out")
    assert plays["timestamp"] == 4 * [1793491200] + 4 * [1793613600]


def test_the_same_data_by_other_names_gives_the_same_bytes(tmp_path: Path) -> None:
    ours = {COLUMNS.songs.get(name, name): values for name, values in OWN_SONGS.items()}
    (tmp_path / "ours").mkdir()
    pq.write_table(pa.table(ours), tmp_path / "ours" / "songs.parquet")
    pq.write_table(pa.table({COLUMNS.plays[n]: v for n, v in OWN_PLAYS.items()}), tmp_path / "ours" / "plays.parquet")
    prepare(tmp_path / "ours", tmp_path / "a")
    prepare(write(tmp_path / "in"), tmp_path / "b", columns=COLUMNS)
    for name in (SONGS, PLAYS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_another_mapping_is_prepared_anew(tmp_path: Path) -> None:
    given = write(tmp_path / "in")
    prepare(given, tmp_path / "out", columns=COLUMNS)
    other = ColumnNames(COLUMNS.songs | {"Stimmung (Genre)": "lyric_mood"}, COLUMNS.plays)
    assert SongField("lyric_mood", "category") in prepare(given, tmp_path / "out", columns=other).fields
    assert recorded_names(tmp_path / "out") == other


@pytest.mark.parametrize(
    ("songs", "plays", "place"),
    [
        ({"Track ID": ["x", "", "z"]}, {}, "songs.parquet: column `Track ID`, row 1 (counted from 0)"),
        ({"Track ID": ["x", "x", "z"]}, {}, "songs.parquet: column `Track ID`, row 1 (counted from 0)"),
        ({"Stimmung (Genre)": [True, False, None]}, {}, "songs.parquet: column `Stimmung (Genre)`: expected string"),
        ({"beats.per.minute": [1.0, float("nan"), 2.0]}, {}, "songs.parquet: column `beats.per.minute`, row 1"),
        ({"beats.per.minute": [None] * 3}, {}, "1 (Stimmung (Genre)); without any value: beats.per.minute"),
        ({}, {"listener": ["u", None, "w", "u"]}, "plays.parquet: column `listener`, row 1"),
        ({}, {"n": [1, 2, -3, 4]}, "plays.parquet: column `n`, row 2"),
        ({}, {"when": ["2026-11-01", "noon", None, None]}, "plays.parquet: column `when`, row 1"),
        ({}, {"Track ID": [1, 2, 3, 4]}, "plays.parquet: column `Track ID`: expected strings. Received: int64"),
        ({}, {"Track ID": ["x", "y", "z", "z"]}, "plays.parquet: column `Track ID`: expected at most 1.00% of plays"),
    ],
)
def test_messages_name_the_users_columns(
    tmp_path: Path, songs: dict[str, Any], plays: dict[str, Any], place: str
) -> None:
    message = refusal(write(tmp_path / "in", songs, plays))
    assert place.lower() in message.lower()
    assert "audio_tempo" not in message.replace("audio_*", "")


def test_a_missing_column_of_the_mapping_is_named(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "in", {"название": None}))
    assert "songs.parquet: column `название`: expected a column of this name, which is to be `title`" in message
    assert "the columns Track ID, Stimmung (Genre), beats.per.minute, song_id" in message
    assert "columns.songs" in message


def test_a_mapping_onto_an_existing_column_is_refused(tmp_path: Path) -> None:
    columns = ColumnNames({name: to for name, to in COLUMNS.songs.items() if name != "song_id"}, COLUMNS.plays)
    message = refusal(write(tmp_path / "in"), columns)
    assert "column `Track ID`: expected one column `song_id`. Received: two" in message


def test_a_column_without_the_mapping_is_named_as_the_contract_has_it(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "in"), ColumnNames(COLUMNS.songs, {"Track ID": "song_id"}))
    assert "expected a column `user_id`" in message
    assert "--suggest" in message


def test_a_part_without_rows_may_lack_a_mapped_column(tmp_path: Path) -> None:
    given = write(tmp_path / "in")
    table = pq.read_table(given / "songs.parquet")
    (given / "songs.parquet").unlink()
    (given / "songs").mkdir()
    pq.write_table(table.slice(0, 0).drop(["название", "Track ID"]), given / "songs" / "0.parquet")
    pq.write_table(table, given / "songs" / "1.parquet")
    assert check(given, columns=COLUMNS).num_songs == 3


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"songs": {"a": "song_id", "b": "song_id"}}, "column `b`: expected a name that no other column has"),
        ({"songs": {"my genre": "attribute", "my-genre": "attribute"}}, "`attribute_my_genre`, which `my genre` has"),
        ({"songs": {"жанр": "attribute"}}, "expected a full name such as `attribute_genre`"),
        ({"songs": {"genre": "attribute_über"}}, "expected letters, digits and underscores"),
        ({"songs": {"playCount": "audio_heat"}}, "expected no feature made from plays"),
        ({"songs": {"genre": ""}}, "expected a name"),
        ({"plays": {"n": "amount"}}, "expected one of user_id, song_id, plays, liked, timestamp. Received: 'amount'"),
        ({"plays": {"n": 3}}, "columns.plays"),
        ({"tracks": {}}, "expected one of ['plays', 'songs']. Received: 'tracks'"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"columns": section}))
    with pytest.raises(SettingsError) as error:
        ColumnNames.read(file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_the_command_takes_the_names_from_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, given = tmp_path / "settings.json", str(write(tmp_path / "in"))
    section = {"songs": COLUMNS.songs, "plays": COLUMNS.plays}
    file.write_text(json.dumps({"columns": section}, ensure_ascii=False), encoding="utf-8")
    assert main([given, "--settings", str(file), "--for-refresh"]) == 0
    assert "attribute_Stimmung_Genre" in capsys.readouterr().out
    assert main([given, "--for-refresh"]) == 2
    assert "at least 2 fields" in capsys.readouterr().err


def test_lists_of_ids_may_have_the_users_names(tmp_path: Path) -> None:
    names = COLUMNS.of("songs")
    (tmp_path / "list.csv").write_text("why;Track ID\nold;é-1\nold;c\n", encoding="utf-8")
    (tmp_path / "list.txt").write_text("Track ID\nc\n")
    pq.write_table(pa.table({"why": ["x"], "Track ID": ["b 2"]}), tmp_path / "list.parquet")
    pq.write_table(pa.table({"why": ["x"], "song_id": ["b 2"]}), tmp_path / "plain.parquet")
    for name, meant in (("list.csv", {"é-1", "c"}), ("list.txt", {"c"}), ("list.parquet", {"b 2"})):
        assert read_ids(tmp_path / name, names=names).meant(IDS, "songs") == meant
    assert read_ids(tmp_path / "plain.parquet", names=names).meant(IDS, "songs") == {"b 2"}
