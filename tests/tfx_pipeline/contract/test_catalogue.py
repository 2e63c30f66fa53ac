"""What the input contract accepts, and the message for each way to break it."""

import json
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import (
    ContractError,
    SongField,
    check,
    fields_of,
)
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.songs import long_list_notes, scan_songs
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.training.needs import TrainingNeeds

SONGS = {
    "song_id": ["a", "b", "c"],
    "attribute_genre": ["rock", None, ""],
    "attribute_tags": [["x", "", None], [], None],
    "audio_tempo": pa.array([0.0, None, 120.5]),
    "lyric_vector": pa.array([[1.0, 2.0], None, [0.0, 0.0]], pa.list_(pa.float32())),
    "title": ["One", None, "Three"],
}
PLAYS = {"user_id": ["u", "u", "v"], "song_id": ["a", "b", "a"], "plays": [3, 0, None], "liked": [True, None, False]}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path)
    return tmp_path


def write(folder, songs=None, plays=None):
    """Write the small catalogue with some columns replaced; a column given as None is dropped."""
    for name, whole, changes in (("songs", SONGS, songs), ("plays", PLAYS, plays)):
        columns = {key: value for key, value in {**whole, **(changes or {})}.items() if value is not None}
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def refusal(folder, **options):
    with pytest.raises(ContractError) as error:
        check(folder, **options)
    return str(error.value)


def test_reads_fields_and_counts(folder):
    catalogue = check(folder)
    assert catalogue.fields == (
        SongField("attribute_genre", "category"),
        SongField("attribute_tags", "multi_category"),
        SongField("audio_tempo", "number"),
        SongField("lyric_vector", "vector", 2),
    )
    assert [field.group for field in catalogue.fields] == ["attribute", "attribute", "audio", "lyric"]
    assert catalogue.missing == pytest.approx((2 / 3, 2 / 3, 1 / 3, 1 / 3))
    assert (catalogue.num_songs, catalogue.num_users, catalogue.num_plays) == (3, 2, 2)
    assert catalogue.display == ("title",)
    assert any("0 plays" in note for note in catalogue.notes)


def test_fields_of_a_schema_use_stated_and_given_lengths():
    schema = pa.schema(
        [("audio_a", pa.list_(pa.float32(), 5)), ("audio_b", pa.list_(pa.float32())), ("name", pa.int8())]
    )
    assert [field.length for field in fields_of(schema, lengths={"audio_b": 7})] == [5, 7]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("genre", "category"), "`name` must start with one of"),
        (("audio_x", "text"), "`kind` must be one of"),
        (("audio_x", "number", 3), "`length` must be at least 1, and 1 unless"),
        (("audio_x", "vector", 0), "`length` must be at least 1"),
    ],
)
def test_a_field_checks_itself(arguments, words):
    with pytest.raises(ValueError, match="Received") as error:
        SongField(*arguments)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "columns",
    [
        {"attribute_genre": pa.array(["rock", None, "pop"]).dictionary_encode()},
        {"attribute_genre": pa.array(["rock", None, "pop"], pa.large_string())},
        {"attribute_tags": pa.array([["x"], None, ["y"]], pa.large_list(pa.large_string()))},
        {"attribute_tags": pa.array([["x"], None, ["y"]], pa.list_(pa.dictionary(pa.int32(), pa.string())))},
        {"lyric_vector": pa.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]], pa.list_(pa.float32(), 2))},
        {"lyric_vector": pa.array([[1.0, 2.0], [], [0.0, 0.0]], pa.large_list(pa.float64()))},
        {"audio_tempo": pa.array([1, None, 3], pa.uint8())},
        {"song_id": pa.array(["a", "b", "c"]).dictionary_encode()},
    ],
    ids=lambda columns: f"{next(iter(columns))}-{next(iter(columns.values())).type}",
)
def test_takes_every_form_of_a_type(tmp_path, columns):
    write(tmp_path, columns)
    kinds = [field.kind for field in check(tmp_path).fields]
    assert kinds == ["category", "multi_category", "number", "vector"]


BROKEN_SONGS: dict[str, tuple[dict[str, object], list[str]]] = {
    "no id column": ({"song_id": None}, ["songs.parquet", "column `song_id`", "title"]),
    "ids of numbers": ({"song_id": [1, 2, 3]}, ["column `song_id`", "expected strings", "int64"]),
    "double id": ({"song_id": ["a", "b", "a"]}, ["column `song_id`, row 2", "each song once", "'a'", "row 0"]),
    "name on two lines": ({"audio_a\nb": [1.0, 2.0, 3.0]}, ["letters, digits and underscores", r"'audio_a\nb'"]),
    "id on two lines twice": ({"song_id": ["a\r\n", "b", "a\r\n"]}, ["row 2", "each song once", r"'a\r\n'"]),
    "columns on two lines": ({"song_id": None, "a\nb": [1, 2, 3]}, ["column `song_id`", r"a\nb"]),
    "null id": ({"song_id": ["a", None, "c"]}, ["column `song_id`, row 1", "an id", "null"]),
    "empty id": ({"song_id": ["a", "b", ""]}, ["column `song_id`, row 2", "an empty string"]),
    "id with NUL": ({"song_id": ["a", "b\0", "b"]}, ["column `song_id`, row 1", "without a NUL", r"'b\x00'"]),
    "long id with NUL": ({"song_id": ["a", "b", "\u00e9" * 2999 + "\0"]}, ["row 2", "(3,000 characters)"]),
    "unequal vectors": (
        {"lyric_vector": [[1.0, 2.0], None, [1.0, 2.0, 3.0]]},
        ["column `lyric_vector`, row 2", "one length, 2", "length 3"],
    ),
    "not a number": ({"audio_tempo": [1.0, float("nan"), 2.0]}, ["column `audio_tempo`, row 1", "finite", "nan"]),
    "infinite": ({"audio_tempo": [1.0, None, float("-inf")]}, ["column `audio_tempo`, row 2", "-inf"]),
    "beyond float32": ({"audio_tempo": [1.0, 1e300, 2.0]}, ["column `audio_tempo`, row 1", "float32", "1e+300"]),
    "vector of nan": (
        {"lyric_vector": [None, [1.0, 2.0], [1.0, float("nan")]]},
        ["column `lyric_vector`, row 2", "finite", "nan"],
    ),
    "bool": ({"attribute_live": [True, False, None]}, ["column `attribute_live`", "bool", "0 and 1"]),
    "list of ints": ({"attribute_ids": [[1], [2], [3]]}, ["column `attribute_ids`", "list<string>", "int64"]),
    "struct": ({"audio_s": [{"x": 1}] * 3}, ["column `audio_s`", "expected string (category)", "struct"]),
    "time": ({"attribute_day": pa.array([0, 1, 2], pa.date32())}, ["column `attribute_day`", "date32"]),
    "popularity": ({"attribute_popularity": [1, 2, 3]}, ["column `attribute_popularity`", "popularity must not reach"]),
    "play count": ({"audio_play_count": [1, 2, 3]}, ["column `audio_play_count`", "made from plays"]),
    "odd name": ({"audio_a b": [1.0, 2.0, 3.0]}, ["letters, digits and underscores", "'audio_a b'"]),
    "one field": (
        {"attribute_tags": None, "audio_tempo": pa.nulls(3), "lyric_vector": [None, None, [None]]},
        ["at least 2 fields", "1 (attribute_genre)", "without any value: audio_tempo, lyric_vector"],
    ),
    "not utf-8": (
        {"attribute_genre": pa.array([b"rock", None, b"\xff"], pa.binary()).view(pa.string())},
        ["column `attribute_genre`, row 2", "UTF-8"],
    ),
}


@pytest.mark.parametrize("case", BROKEN_SONGS)
def test_refuses_songs(tmp_path, case):
    columns, words = BROKEN_SONGS[case]
    if case == "one field":
        columns = {**columns, "lyric_vector": pa.array(columns["lyric_vector"], pa.list_(pa.float32()))}
    write(tmp_path, columns)
    message = refusal(tmp_path)
    assert message.count("\n") == 0 and message.startswith(str(tmp_path / "songs.parquet"))
    for word in ["expected", "Received: ", *words]:
        assert word in message


BROKEN_PLAYS = {
    "no users": ({"user_id": None}, ["column `user_id`"]),
    "null user": ({"user_id": ["u", None, "v"]}, ["column `user_id`, row 1", "null"]),
    "user with NUL": ({"user_id": ["u", "\0v", "v"]}, ["column `user_id`, row 1", "without a NUL", r"'\x00v'"]),
    "null song": ({"song_id": ["a", "b", None]}, ["column `song_id`, row 2", "null"]),
    "numeric users": ({"user_id": [1, 2, 3]}, ["column `user_id`", "expected strings", "int64"]),
    "negative": ({"plays": [1, -2, 3]}, ["column `plays`, row 1", "0 or more", "-2"]),
    "fractions": ({"plays": [1.0, 2.0, 3.5]}, ["column `plays`, row 2", "whole number", "3.5"]),
    "no number": ({"plays": [1.0, float("nan"), 3.0]}, ["column `plays`, row 1", "whole number", "nan"]),
    "endless": ({"plays": [1.0, None, float("inf")]}, ["column `plays`, row 2", "whole number", "inf"]),
    "beyond int64": ({"plays": [1.0, None, 1e300]}, ["column `plays`, row 2", "within int64", "1e+300"]),
    "negative double": ({"plays": [-1.0, None, 2.0]}, ["column `plays`, row 0", "0 or more", "-1.0"]),
    "fractions of decimals": (
        {"plays": pa.array([Decimal("1.00"), None, Decimal("2.50")], pa.decimal128(10, 2))},
        ["column `plays`, row 2", "whole number", "2.50"],
    ),
    "negative decimal": (
        {"plays": pa.array([None, Decimal(-1), Decimal(2)], pa.decimal128(38, 0))},
        ["column `plays`, row 1", "0 or more", "-1"],
    ),
    "huge decimal": (
        {"plays": pa.array([Decimal(1), Decimal(10) ** 40, None], pa.decimal256(50, 0))},
        ["column `plays`, row 1", "within int64", "1" + "0" * 40],
    ),
    "plays in words": ({"plays": ["1", "2", "3"]}, ["column `plays`", "whole numbers", "string"]),
    "liked in half": ({"liked": [0.0, 1.0, 0.5]}, ["column `liked`, row 2", "true or false", "0.5"]),
    "liked not known": ({"liked": [0.0, float("nan"), 1.0]}, ["column `liked`, row 1", "true or false", "nan"]),
    "liked in words": ({"liked": ["yes", "no", "no"]}, ["column `liked`", "bool", "string"]),
    "liked as 2": ({"liked": [0, 2, 1]}, ["column `liked`, row 1", "true or false", "2"]),
    "time in words": ({"timestamp": ["now"] * 3}, ["column `timestamp`, row 0", "since 1970", "'now'"]),
    "two units": (
        {"timestamp": [1238536800, None, 1238536800000]},
        ["column `timestamp`, row 2", "seconds", "1238536800000", "milliseconds"],
    ),
    "no time": ({"timestamp": [0.0, 1.0, float("nan")]}, ["column `timestamp`, row 2", "finite", "nan"]),
    "time as bool": ({"timestamp": [True, False, True]}, ["column `timestamp`", "a timestamp", "bool"]),
    "unknown songs": ({"song_id": ["a", "x", "b"]}, ["at most 1.00%", "33.33% (1 rows)", "'x' in row 1"]),
    "no plays": ({"plays": [0, 0, 0]}, ["at least one play of a known song", "none"]),
}


@pytest.mark.parametrize("case", BROKEN_PLAYS)
def test_refuses_plays(tmp_path, case):
    columns, words = BROKEN_PLAYS[case]
    write(tmp_path, plays=columns)
    message = refusal(tmp_path)
    assert message.count("\n") == 0 and message.startswith(str(tmp_path / "plays.parquet"))
    for word in ["expected", "Received: ", *words]:
        assert word in message


def test_refuses_files_that_are_none(folder, tmp_path):
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "a file" in refusal(folder / "songs.parquet")
    (folder / "plays.parquet").unlink()
    assert "plays.parquet or plays.csv" in refusal(folder)
    (folder / "plays.parquet").mkdir()
    assert "plays.parquet: expected at least one Parquet file in the folder. Received: none" in refusal(folder)
    (folder / "plays.csv").mkdir()
    assert "plays.csv: expected one file. Received: a folder" in refusal(folder)
    (folder / "plays.csv").rmdir()
    (folder / "songs.parquet").write_bytes(b"PAR1 but not really PAR1")
    (folder / "plays.parquet").rmdir()
    pq.write_table(pa.table(PLAYS), folder / "plays.parquet")
    assert "expected a Parquet file" in refusal(folder)


def test_refuses_a_damaged_file(folder):
    whole = (folder / "songs.parquet").read_bytes()
    (folder / "songs.parquet").write_bytes(whole[:4] + bytes(100) + whole[104:])
    assert "expected a readable Parquet file" in refusal(folder)


def test_refuses_an_empty_catalogue_and_doubled_columns(folder):
    pq.write_table(pa.table(SONGS).slice(0, 0), folder / "songs.parquet")
    assert "at least one song. Received: no rows" in refusal(folder)
    pq.ParquetWriter(folder / "songs.parquet", pa.table(SONGS).schema).close()  # A file without any row group.
    assert "at least one song. Received: no rows" in refusal(folder)
    twice = pa.table([["a"], ["x"], ["y"]], names=["song_id", "attribute_a", "attribute_a"])
    pq.write_table(twice, folder / "songs.parquet")
    assert "column `attribute_a`: expected one column of each name. Received: 2" in refusal(folder)


def test_the_share_of_unknown_songs_is_a_setting(tmp_path):
    write(tmp_path, plays={"song_id": ["a", "x", "b"], "plays": [1, 1, 1]})
    catalogue = check(tmp_path, max_unknown_plays=0.4)
    assert (catalogue.num_plays, catalogue.unknown_plays) == (2, pytest.approx(1 / 3))
    with pytest.raises(ValueError, match="`max_unknown_plays` must be a share"):
        check(tmp_path, max_unknown_plays=1.5)


def test_rows_are_numbered_over_row_groups(tmp_path):
    rows = 150_000
    ids = [str(index) for index in range(rows - 1)] + ["17"]
    write(tmp_path, {**dict.fromkeys(SONGS), "song_id": ids, "audio_a": [1.0] * rows, "audio_b": [2] * rows})
    assert "row 149999 (counted from 0): expected each song once. Received: '17', which row 17" in refusal(tmp_path)


def test_columns_without_a_value_are_left_out_with_a_note(tmp_path):
    write(tmp_path, {"audio_empty": pa.nulls(3), "attribute_blank": ["", "", None]})
    catalogue = check(tmp_path)
    assert [field.name for field in catalogue.fields] == list(SONGS)[1:-1]
    assert "audio_empty is left out: it has no value in any row." in catalogue.notes
    assert "attribute_blank is left out: it has no value in any row." in catalogue.notes


def test_command_line(folder, capsys):
    assert main([str(folder), "--for-refresh"]) == 0
    printed = capsys.readouterr().out
    assert "3 songs, 2 users, 2 plays" in printed and "lyric_vector     vector(2)        33.3% missing" in printed
    assert main([str(folder / "nowhere")]) == 2
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err.count("\n") == 1 and "no such folder" in streams.err


def test_imports_neither_tensorflow_nor_tfx():
    heavy = ("tensorflow", "tfx", "apache_beam", "keras", "pandas")
    code = f"import sys, tfx_pipeline.contract; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_note_counts_the_songs_with_long_lists(folder, capsys):
    """The first values of a list count. The note says how many songs have more, and names the setting."""
    words = [[f"w{place}" for place in range(length)] for length in (33, 200, 32)]
    write(folder, {"attribute_tags": [["", None, *words[0]], words[1], words[2]]})
    note_start = (
        "attribute_tags: 2 songs have more than 32 values, at most 200. The model uses the first 32 known values"
    )
    assert [note.startswith(note_start) for note in check(folder).notes].count(True) == 1
    settings = folder / "settings.json"
    for most, cut in ((31, 3), (32, 2), (33, 1), (200, 0)):
        settings.write_text(json.dumps({"transform": {"max_values": most}}))
        transform = TrainingNeeds.read(settings).transform
        assert transform.max_values == most
        notes = long_list_notes(scan_songs(Source.at(folder / "songs.parquet")).lists, most)
        assert [f"{cut} songs have more than {most} values" in note for note in notes] == [True] * bool(cut)
    settings.write_text(json.dumps({"transform": {"max_values": 0}}))
    assert main([str(folder), "--settings", str(settings)]) == 2
    assert "`max_values` must be at least 1. Received: 0" in capsys.readouterr().err
