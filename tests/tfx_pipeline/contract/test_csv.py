"""A CSV pair in place of Parquet: what the cells become, and the message for each bad one."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import PLAYS, SONGS, ContractError, SongField, check, prepare
from tfx_pipeline.contract.__main__ import main

SONGS_CSV = """\
song_id, attribute_genre ,attribute_tags,attribute_code,attribute_ids,audio_tempo,audio_vector,lyric_none,title
007,rock,indie|lo fi,007,1|2,120,0.5|-1,,"Comma, ""song"" first"
NA, ,rock|,12,3|4,-1e1,,,"two
lines"
b,pop,,3,,,1e-1|2,,
"""
PLAYS_CSV = """\
user_id,song_id,plays,liked,timestamp
01,007,2,true,0
1,NA,,0,1970-01-02T00:00:01Z
1,b,3,,1970-01-02
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "in"
    path.mkdir()
    (path / "songs.csv").write_text("\ufeff" + SONGS_CSV, encoding="utf-8")
    (path / "plays.csv").write_text(PLAYS_CSV.replace("\n", "\r\n"), encoding="utf-8", newline="")
    return path


def refusal(folder):
    with pytest.raises(ContractError) as error:
        check(folder)
    return str(error.value)


def test_cells_become_fields(folder, tmp_path):
    catalogue = prepare(folder, tmp_path / "out")
    assert catalogue.fields == (
        SongField("attribute_genre", "category"),
        SongField("attribute_tags", "multi_category"),
        SongField("attribute_code", "category"),
        SongField("attribute_ids", "multi_category"),
        SongField("audio_tempo", "number"),
        SongField("audio_vector", "vector", 2),
    )
    songs = pq.read_table(tmp_path / "out" / SONGS).to_pydict()
    assert songs["song_id"] == ["007", "NA", "b"]
    assert songs["attribute_genre"] == ["rock", None, "pop"]
    assert songs["attribute_tags"] == [["indie", "lo fi"], ["rock"], None]
    assert songs["attribute_code"] == ["007", "12", "3"]
    assert songs["attribute_ids"] == [["1", "2"], ["3", "4"], None]
    assert songs["audio_tempo"] == [120.0, -10.0, None]
    assert songs["audio_vector"][0] == [0.5, -1.0] and songs["audio_vector"][1] is None
    assert songs["title"] == ['Comma, "song" first', "two\nlines", None]
    plays = pq.read_table(tmp_path / "out" / PLAYS).to_pydict()
    assert plays["user_id"] == ["01", "1", "1"]
    assert plays["plays"] == [2, 1, 3] and plays["liked"] == [1, 0, 0]
    assert plays["timestamp"] == [0, 86_401, 86_400]
    assert sorted(path.name for path in folder.iterdir()) == ["plays.csv", "songs.csv"]


def test_types_come_from_the_whole_file(folder):
    """The cells that make a column a category lie beyond the first block that is read."""
    rows = [f"s{index},{index},{index}.5,{'x' * 100}" for index in range(60_000)]
    rows[-600:] = [f"last{index},not a number,1.5,x" for index in range(600)]
    (folder / "songs.csv").write_text("song_id,audio_a,audio_b,title\n" + "\n".join(rows))
    (folder / "plays.csv").write_text("user_id,song_id\nu,s1\n")
    assert [field.kind for field in check(folder).fields] == ["category", "number"]


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("songs", "-1e1", "-inf", ["songs.csv", "column `audio_tempo`, row 1", "finite", "-inf"]),
        ("songs", "1e-1|2", "1e-1|2|3", ["column `audio_vector`, row 2", "one length, 2", "length 3"]),
        ("songs", "\nb,", "\n007,", ["column `song_id`, row 2", "'007', which row 0"]),
        ("songs", "song_id", "id", ["column `song_id`", "id, attribute_genre"]),
        ("songs", "title", "audio_tempo", ["column `audio_tempo`: expected one column of each name. Received: 2"]),
        ("songs", "b,pop,,", "b,pop,", ["songs.csv: row 2", "9 columns, found 8", "a cell for each column"]),
        ("songs", "b,pop,,", "b,p,op,,", ["row 2", "9 columns, found 10", "A comma inside a value needs quotes"]),
        ("plays", "007,2", "007,two", ["plays.csv", "column `plays`, row 0", "whole number", "'two'"]),
        ("plays", "007,2", "007,-2", ["column `plays`, row 0", "0 or more", "-2"]),
        ("plays", "true", "maybe", ["column `liked`, row 0", "true or false", "'maybe'"]),
        ("plays", "true,0", "true,noon", ["column `timestamp`, row 0", "1970", "'noon'"]),
        ("plays", "1970-01-02\n", "1970-02-30\n", ["column `timestamp`, row 2", "a time that exists", "1970-02-30"]),
    ],
)
def test_refuses_cells(folder, file, old, new, words):
    text = {"songs": SONGS_CSV, "plays": PLAYS_CSV}[file]
    assert old in text
    (folder / f"{file}.csv").write_text(text.replace(old, new, 1))
    message = refusal(folder)
    for word in ["expected", "Received: ", *words]:
        assert word in message


def test_refuses_files_that_are_no_csv(folder):
    (folder / "songs.csv").write_bytes(SONGS_CSV.encode().replace(b"rock|", b"r\xf6ck|"))
    assert "column `attribute_tags`, row 1 (counted from 0): expected text in UTF-8" in refusal(folder)
    (folder / "songs.csv").write_bytes(SONGS_CSV.encode().replace(b"title", b"t\xeftle"))
    assert "a CSV file in UTF-8" in refusal(folder)
    (folder / "songs.csv").write_bytes(SONGS_CSV.encode("utf-16-le"))
    assert "Save the file as UTF-8." in refusal(folder)
    (folder / "songs.csv").write_bytes(b"")
    assert "a CSV file in UTF-8 with a header" in refusal(folder)
    (folder / "songs.csv").write_text(SONGS_CSV.splitlines()[0] + "\n")
    assert "at least one song" in refusal(folder)


def test_parquet_comes_first_and_the_two_may_be_mixed(folder):
    songs = {"song_id": ["007", "NA", "b"], "audio_a": [1.0, 2.0, 3.0], "audio_b": [1, 2, 3]}
    pq.write_table(pa.table(songs), folder / "songs.parquet")
    catalogue = check(folder)
    assert [field.name for field in catalogue.fields] == ["audio_a", "audio_b"]
    assert "songs.csv is not read, because songs.parquet is there." in catalogue.notes


def test_files_of_tabs_may_say_so_in_their_names(folder, tmp_path):
    with (folder / "songs.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    with (folder / "songs.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
    prepare(folder, tmp_path / "both")
    (folder / "songs.csv").unlink()
    prepare(folder, tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / SONGS).equals(pq.read_table(tmp_path / "both" / SONGS))


def test_command_line_refuses_with_one_line(folder, capsys):
    (folder / "plays.csv").write_text("user_id,song_id\nu,nobody\n")
    assert main([str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
