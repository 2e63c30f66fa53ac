"""Tables in several files, as Spark and pandas write them, folders named `column=value`, and lists of a fixed size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import PLAYS, SONGS, ContractError, SongField, check, prepare
from tfx_pipeline.contract.source import Source
from tfx_pipeline.contract.tables import table_parts

NAMES = [f"s{i}" for i in range(10)]
CATALOGUE = pa.table(
    {
        "song_id": NAMES,
        "attribute_genre": [f"g{i % 3}" for i in range(10)],
        "audio_tempo": [float(i) for i in range(10)],
        "title": [f"T{i}" for i in range(10)],
    }
)
LISTENING = pa.table({"user_id": [f"u{i % 4}" for i in range(20)], "song_id": NAMES * 2, "plays": [1, 2] * 10})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    pq.write_table(CATALOGUE, tmp_path / "in" / "songs.parquet")
    pq.write_table(LISTENING, tmp_path / "in" / "plays.parquet")
    return tmp_path / "in"


def write_parts(folder: Path, table: pa.Table, rows: int = 4) -> None:
    """As Spark does: parts with their checksums, an empty one, and the marks of a finished write."""
    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, len(table), rows)):
        name = f"part-{number:05d}-tid.c000.snappy.parquet"
        pq.write_table(table.slice(start, rows), folder / name)
        (folder / f".{name}.crc").write_bytes(b"crc\0")
    pq.write_table(table.slice(0, 0), folder / "part-00009.parquet")
    pq.write_table(pa.table({"song_id": pa.nulls(0), "user_id": pa.nulls(0)}), folder / "part-00010.parquet")
    for name in ("_SUCCESS", "._SUCCESS.crc", "_metadata", ".DS_Store"):
        (folder / name).write_bytes(b"")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "part.parquet").write_bytes(b"no Parquet")


@pytest.mark.parametrize("place", ["{}.parquet", "{}", "{}.parquet/inner"])
def test_parts_are_read_like_one_file(folder: Path, tmp_path: Path, place: str) -> None:
    whole = prepare(folder, tmp_path / "whole")
    parts = tmp_path / "parts"
    write_parts(parts / place.format("songs"), CATALOGUE)
    write_parts(parts / place.format("plays"), LISTENING)
    catalogue = prepare(parts, tmp_path / "out")
    assert (catalogue.fields, catalogue.num_songs, catalogue.num_plays) == (whole.fields, 10, 20)
    for name in (SONGS, PLAYS):
        assert pq.read_table(tmp_path / "out" / name).equals(pq.read_table(tmp_path / "whole" / name))


def test_parts_may_differ_as_days_may(folder: Path, tmp_path: Path) -> None:
    (folder / "songs.parquet").unlink()
    (folder / "songs.parquet").mkdir()
    types = [
        {"song_id": pa.string(), "audio_tempo": pa.int64(), "attribute_genre": pa.large_string()},
        {"audio_tempo": pa.float32(), "song_id": pa.large_string(), "attribute_genre": pa.null()},
        {"song_id": pa.string(), "audio_tempo": pa.decimal128(9, 2)},
    ]
    for number, (start, columns) in enumerate(zip((0, 4, 8), types, strict=True)):
        rows = CATALOGUE.slice(start, 4 if start < 8 else 2)
        part = {n: pa.nulls(len(rows)) if t == pa.null() else rows[n].cast(t) for n, t in columns.items()}
        pq.write_table(pa.table(part), folder / "songs.parquet" / f"{number}.parquet")
    prepare(folder, tmp_path / "out")
    out = pq.read_table(tmp_path / "out" / SONGS)
    assert out["audio_tempo"].to_pylist() == CATALOGUE["audio_tempo"].to_pylist()
    assert out["attribute_genre"].to_pylist() == CATALOGUE["attribute_genre"].to_pylist()[:4] + [None] * 6
    text = pa.table({"song_id": ["z"], "audio_tempo": ["fast"]})
    pq.write_table(text, folder / "songs.parquet" / "3.parquet")
    with pytest.raises(ContractError, match=r"3\.parquet: column `audio_tempo`: expected number \(int64\) as in"):
        check(folder)


def test_messages_name_the_part_and_its_own_row(folder: Path) -> None:
    (folder / "plays.parquet").unlink()
    write_parts(folder / "plays.parquet", LISTENING)
    bad = LISTENING.set_column(2, "plays", pa.array([1] * 17 + [-1, 1, 1])).slice(16, 4)
    pq.write_table(bad, folder / "plays.parquet" / "part-00004-tid.c000.snappy.parquet")
    with pytest.raises(ContractError, match=r"plays.parquet/part-00004.*: column `plays`, row 1 \(.*-1"):
        check(folder)
    (folder / "songs.parquet").unlink()
    write_parts(folder / "songs.parquet", CATALOGUE)
    twice = pa.table({"song_id": ["new", "s5"], "attribute_genre": ["g1", "g2"]})
    pq.write_table(twice, folder / "songs.parquet" / "part-00008.parquet")
    with pytest.raises(ContractError, match=r"part-00008.parquet.*row 1 \(.*'s5', which row 1 of .*part-00001"):
        check(folder)
    pq.write_table(pa.table({"id": ["new"]}), folder / "songs.parquet" / "part-00008.parquet")
    with pytest.raises(ContractError, match=r"part-00008.parquet: expected a column `song_id`.* the columns id"):
        check(folder)
    damaged = folder / "songs.parquet" / "part-00001-tid.c000.snappy.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:4] + bytes(60) + whole[64:])
    (folder / "songs.parquet" / "part-00008.parquet").unlink()
    with pytest.raises(ContractError, match=r"part-00001.*: row 0 .*expected a readable Parquet file"):
        check(folder)


@pytest.mark.parametrize("place", ["plays.parquet", "plays"])
def test_columns_may_be_in_the_names_of_folders(folder: Path, tmp_path: Path, place: str) -> None:
    (folder / "plays.parquet").unlink()
    for number in range(4):
        day = folder / place / f"date=2026-11-0{number + 1}" / f"liked={'true' if number % 2 else 'false'}"
        day.mkdir(parents=True)
        pq.write_table(LISTENING.slice(number * 5, 5), day / "0.parquet")
    catalogue = prepare(folder, tmp_path / "out")
    assert catalogue.num_plays == 20 and catalogue.plays_columns == ("user_id", "song_id", "plays", "liked")
    assert "liked is read from the names of folders, as true or false." in catalogue.notes
    assert "Column date of plays is not read." in catalogue.notes
    assert pq.read_table(tmp_path / "out" / PLAYS)["liked"].to_pylist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5


def test_fields_in_the_names_of_folders_have_a_kind(folder: Path, tmp_path: Path) -> None:
    (folder / "songs.parquet").unlink()
    for number in range(10):
        year = "__HIVE_DEFAULT_PARTITION__" if number == 3 else str(1990 + number)
        part = folder / "songs.parquet" / f"attribute_year={year}" / f"attribute_place=A%20%2F%20caf%C3%A9 {number % 2}"
        part.mkdir(parents=True)
        pq.write_table(CATALOGUE.slice(number, 1).drop(["attribute_genre"]), part / "0.parquet")
    catalogue = prepare(folder, tmp_path / "out")
    fields = {field.name: field.kind for field in catalogue.fields}
    assert fields == {"audio_tempo": "number", "attribute_year": "number", "attribute_place": "category"}
    rows = {row["song_id"]: row for row in pq.read_table(tmp_path / "out" / SONGS).to_pylist()}
    assert rows["s4"]["attribute_year"] == 1994.0 and rows["s3"]["attribute_year"] is None
    assert rows["s5"]["attribute_place"] == "A / café 1"


def test_an_id_in_the_name_of_a_folder_is_text(tmp_path: Path) -> None:
    for user in ("7", "007"):
        (tmp_path / "plays" / f"user_id={user}").mkdir(parents=True)
        pq.write_table(pa.table({"song_id": ["a"]}), tmp_path / "plays" / f"user_id={user}" / "0.parquet")
    pq.write_table(CATALOGUE, tmp_path / "songs.parquet")
    pq.write_table(CATALOGUE.set_column(0, "song_id", pa.array(["a", *NAMES[1:]])), tmp_path / "songs.parquet")
    assert check(tmp_path).num_users == 2


def test_folders_that_are_no_plain_table_are_refused(folder: Path) -> None:
    plays = folder / "plays.parquet"
    plays.unlink()
    write_parts(plays, LISTENING)
    for name, words in (("_delta_log", "Delta"), ("_temporary", "did not finish"), (".hoodie", "Hudi")):
        (plays / name).mkdir()
        with pytest.raises(ContractError, match=words):
            check(folder)
        (plays / name).rmdir()
    (plays / "notes.txt").write_text("mine")
    with pytest.raises(ContractError, match=r"notes.txt: expected a folder with nothing but Parquet files.* Move it"):
        check(folder)
    (plays / "notes.txt").unlink()
    (plays / "part-1.parquet").write_text("cut off")
    with pytest.raises(ContractError, match=r"part-1.parquet: expected a Parquet file"):
        check(folder)


def test_parts_without_a_suffix_are_parts(tmp_path: Path) -> None:
    """As Hive names them."""
    (tmp_path / "000000_0").write_bytes(b"")
    pq.write_table(LISTENING, tmp_path / "000000_0")
    pq.write_table(LISTENING, tmp_path / "000001_0")
    assert [part.path.name for part in table_parts(tmp_path)] == ["000000_0", "000001_0"]


def test_links_among_parts_are_followed_once(tmp_path: Path) -> None:
    write_parts(tmp_path / "elsewhere", LISTENING)
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "day").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    assert sum(header.num_rows for header in Source.at(tmp_path / "plays").headers) == 20


def test_a_note_names_the_table_that_is_read(folder: Path) -> None:
    write_parts(folder / "plays", LISTENING)
    (folder / "songs").mkdir()
    (folder / "songs" / "s0.mp3").write_bytes(b"ID3")
    (folder / "plays.csv").write_text("user_id,song_id\nu,s0\n")
    notes = check(folder).notes
    assert "plays is not read, because plays.parquet is there." in notes
    assert "plays.csv is not read, because plays.parquet is there." in notes
    assert not any(note.startswith("songs") for note in notes)


def test_prepare_knows_every_part(folder: Path, tmp_path: Path) -> None:
    (folder / "plays.parquet").unlink()
    write_parts(folder / "plays.parquet", LISTENING)
    out = tmp_path / "out"
    prepare(folder, out)
    inode = (out / PLAYS).stat().st_ino
    prepare(folder, out)
    assert (out / PLAYS).stat().st_ino == inode
    part = folder / "plays.parquet" / "part-00003-tid.c000.snappy.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    assert prepare(folder, out).num_plays == 19
    part.unlink()
    assert prepare(folder, out).num_plays == 16


VECTORS = [[0.5, 1.5, 2.5], None, [3.5, None, 4.5], *([float(i), 0.25, 0.75] for i in range(7))]


def fixed(element: pa.DataType) -> pa.ChunkedArray:
    """The vectors as Arrow can write them: it refuses a null list of a fixed size between two others of one chunk."""
    return pa.chunked_array([pa.array([vector], pa.list_(element, 3)) for vector in VECTORS])


@pytest.mark.parametrize("options", [{}, {"row_group_size": 3}, {"compression": "none"}, {"use_dictionary": False}])
def test_a_null_list_of_a_fixed_size_is_a_missing_vector(folder: Path, tmp_path: Path, options: dict) -> None:
    table = CATALOGUE.append_column("lyric_vector", fixed(pa.float32()))
    times = pa.array(range(10), pa.timestamp("s", "Europe/Berlin"))
    table = table.append_column("released", times).append_column("shown", fixed(pa.float64()))
    plain = table.set_column(4, "lyric_vector", pa.array(VECTORS, pa.list_(pa.float32())))
    plain = plain.set_column(6, "shown", pa.array(VECTORS, pa.list_(pa.float64())))
    pq.write_table(plain, folder / "songs.parquet", **options)
    wanted = prepare(folder, tmp_path / "plain")
    pq.write_table(table, folder / "songs.parquet", **options)
    found = prepare(folder, tmp_path / "fixed")
    assert found.fields == wanted.fields and SongField("lyric_vector", "vector", 3) in found.fields
    assert found.missing == wanted.missing and found.notes == wanted.notes
    assert "lyric_vector: 1 vectors with a null element count as missing." in found.notes
    assert pq.read_table(tmp_path / "fixed" / SONGS).equals(pq.read_table(tmp_path / "plain" / SONGS))


def test_without_any_vector_a_list_of_a_fixed_size_is_left_out(folder: Path) -> None:
    table = CATALOGUE.append_column("lyric_vector", pa.nulls(10, pa.list_(pa.float32(), 3)))
    pq.write_table(table, folder / "songs.parquet")
    assert "lyric_vector is left out: it has no value in any row." in check(folder).notes


def test_a_note_names_the_unit_of_times(folder: Path) -> None:
    (folder / "plays.parquet").unlink()
    (folder / "plays.parquet").mkdir()
    for number, ticks in enumerate((1_700_000_000, 1_700_000_000_000)):
        part = LISTENING.append_column("timestamp", pa.array([ticks] * 20))
        pq.write_table(part, folder / "plays.parquet" / f"{number}.parquet")
    assert "timestamp is read as seconds in 1, milliseconds in 1 of 2 files, since 1970." in check(folder).notes
    (folder / "plays.parquet" / "0.parquet").unlink()
    assert "timestamp is read as milliseconds since 1970." in check(folder).notes


def test_memory_does_not_grow_with_the_number_of_parts(tmp_path: Path) -> None:
    """Four times the parts of plays: Arrow's own peak stays within a tenth."""
    code = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from tfx_pipeline.contract import prepare
songs = pa.table({"song_id": [f"s{i}" for i in range(2000)], "audio_a": [1.0] * 2000, "audio_b": [2] * 2000})
users = [f"user {i // 40:08d}" for i in range(40_000)]
block = pa.table({"user_id": users, "song_id": [f"s{i % 2000}" for i in range(40_000)]})
for parts in (5, 20):
    folder = Path(sys.argv[1]) / str(parts)
    (folder / "plays").mkdir(parents=True)
    pq.write_table(songs, folder / "songs.parquet")
    for part in range(parts):
        (folder / "plays" / f"date={part}").mkdir()
        pq.write_table(block, folder / "plays" / f"date={part}" / "0.parquet")
    prepare(folder, folder / "out")
    print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many < 1.1 * few
