"""What `prepare` writes, when it writes, and what it leaves alone."""

import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import PLAYS, SONGS, ContractError, check, load_prepared, prepare


@pytest.fixture
def folder(tmp_path):
    """A folder in which every column has an unusual form."""
    path = tmp_path / "in"
    path.mkdir()
    noon = datetime.datetime(1970, 1, 2, 12, 0, 0, 999_000)
    songs = {
        "song_id": pa.array(["a", "b", "c"]).dictionary_encode(),
        "attribute_genre": pa.array(["rock", "", None]).dictionary_encode(),
        "attribute_tags": pa.array([["x", None, "", "y"], [], None], pa.large_list(pa.large_string())),
        "audio_mode": pa.array([0, None, 2], pa.uint16()),
        "audio_vector": pa.array([[0.0, 0.5], None, [1.0, None]], pa.list_(pa.float64())),
        "audio_fixed": pa.array([[0.0, 0.5], [1, 2], [1, 3]], pa.list_(pa.float32(), 2)),
        "lyric_nothing": pa.nulls(3),
        "title": ["One", "", None],
        "genres_shown": [["p", "q"], [], None],
        "released": [datetime.date(2020, 1, 31), None, None],
        "facts": [{"year": 7}, None, None],
        "raw": pa.array([b"ok", b"\xff", None]),
    }
    plays = {
        "user_id": pa.array(["u", "v", "v", "w", "u"], pa.large_string()),
        "song_id": ["a", "b", "gone", "c", "b"],
        "plays": pa.array([3, None, 2, 0, 1], pa.uint8()),
        "liked": [True, False, True, True, None],
        "timestamp": pa.array([noon, None, None, None, datetime.datetime(1969, 12, 31)], pa.timestamp("us")),
        "client": ["x"] * 5,
    }
    pq.write_table(pa.table(songs), path / "songs.parquet", row_group_size=2)
    pq.write_table(pa.table(plays), path / "plays.parquet")
    return path


def contents(out):
    return {path.relative_to(out): (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*.*")}


def test_writes_what_the_pipeline_reads(folder, tmp_path):
    catalogue = prepare(folder, tmp_path / "out", max_unknown_plays=0.2)
    songs = pq.read_table(tmp_path / "out" / SONGS).to_pydict()
    assert songs == {
        "song_id": ["a", "b", "c"],
        "attribute_genre": ["rock", None, None],
        "attribute_tags": [["x", "y"], None, None],
        "audio_mode": [0.0, None, 2.0],
        "audio_vector": [[0.0, 0.5], None, None],
        "audio_fixed": [[0.0, 0.5], [1.0, 2.0], [1.0, 3.0]],
        "title": ["One", None, None],
        "genres_shown": ["p, q", None, None],
        "released": ["2020-01-31", None, None],
        "facts": ['{"year": 7}', None, None],
        "raw": ["ok", "\ufffd", None],
    }
    assert pq.read_table(tmp_path / "out" / PLAYS).to_pydict() == {
        "user_id": ["u", "v", "u"],
        "song_id": ["a", "b", "b"],
        "plays": [3, 1, 1],
        "liked": [1, 0, 0],
        "timestamp": [86_400 + 43_200, None, -86_400],
    }
    assert catalogue.folder == folder and catalogue.num_plays == 3 and catalogue.unknown_plays == 0.2
    assert any("1 vectors with a null element" in note for note in catalogue.notes)
    assert any("Column client of plays is not read" in note for note in catalogue.notes)


def test_types_are_the_plain_ones(folder, tmp_path):
    prepare(folder, tmp_path / "out", max_unknown_plays=0.2)
    songs = pq.read_schema(tmp_path / "out" / SONGS)
    types = {str(column.type) for column in songs}
    assert types <= {
        "string",
        "float",
        "list<element: string>",
        "list<element: float>",
        "list<item: string>",
        "list<item: float>",
    }
    assert [str(column.type) for column in pq.read_schema(tmp_path / "out" / PLAYS)] == ["string"] * 2 + ["int64"] * 3


def test_the_same_input_leaves_bytes_and_times_alone(folder, tmp_path):
    out = tmp_path / "out"
    first = prepare(folder, out, max_unknown_plays=0.2)
    before = contents(out)
    inode = (out / SONGS).stat().st_ino
    assert prepare(folder, out, max_unknown_plays=0.2) == first
    assert contents(out) == before and (out / SONGS).stat().st_ino == inode
    # Another folder gets the same bytes and, for the data, the same times: ExampleGen's cache goes by them.
    prepare(folder, tmp_path / "again", max_unknown_plays=0.2)
    again = contents(tmp_path / "again")
    assert {name: again[name] for name in (SONGS, PLAYS)} == {name: before[name] for name in (SONGS, PLAYS)}


def test_changed_plays_change_the_plays_alone(folder, tmp_path):
    out = tmp_path / "out"
    prepare(folder, out, max_unknown_plays=0.2)
    before = contents(out)
    plays = pq.read_table(folder / "plays.parquet")
    swapped = plays.set_column(0, "user_id", pa.array(["w", "v", "v", "u", "u"]))  # The same size of file.
    pq.write_table(swapped, folder / "plays.parquet")
    prepare(folder, out, max_unknown_plays=0.2)
    after = contents(out)
    assert after[SONGS] == before[SONGS]
    assert after[PLAYS][0] != before[PLAYS][0] and after[PLAYS][1] != before[PLAYS][1]


def test_a_damaged_output_is_written_anew(folder, tmp_path):
    out = tmp_path / "out"
    prepare(folder, out, max_unknown_plays=0.2)
    before = contents(out)
    for damaged, wrong in ((PLAYS, ""), (SONGS, "x"), (Path("catalogue.json"), "{")):
        (out / damaged).write_text(wrong)
        prepare(folder, out, max_unknown_plays=0.2)
        after = contents(out)
        assert (after[SONGS], after[PLAYS]) == (before[SONGS], before[PLAYS])
        assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}


def test_bad_input_writes_nothing(folder, tmp_path):
    out = tmp_path / "deep" / "out"
    with pytest.raises(ContractError, match=r"at most 1.00%"):
        prepare(folder, out)
    assert not out.exists() and list(out.parent.glob("*")) == []
    prepare(folder, out, max_unknown_plays=0.2)
    before = contents(out)
    pq.write_table(pa.table({"song_id": ["a"]}), folder / "songs.parquet")
    with pytest.raises(ContractError, match="at least 2 fields"):
        prepare(folder, out, max_unknown_plays=0.2)
    assert contents(out) == before
    with pytest.raises(ContractError, match="no such folder"):
        prepare(tmp_path / "nowhere", out)


def test_a_foreign_folder_is_left_alone(folder, tmp_path):
    before = contents(folder)
    for out in (folder, tmp_path):
        with pytest.raises(ContractError, match="expected a new or empty folder"):
            prepare(folder, out, max_unknown_plays=0.2)
    assert contents(folder) == before


def test_the_catalogue_is_read_back(folder, tmp_path):
    out = tmp_path / "out"
    catalogue = prepare(folder, out, max_unknown_plays=0.2)
    assert load_prepared(out).fields == catalogue.fields
    assert load_prepared(out).notes == check(folder, max_unknown_plays=0.2).notes
    with pytest.raises(ContractError, match=r"with catalogue\.json"):
        load_prepared(folder)


def test_memory_does_not_grow_with_plays(tmp_path):
    """Four times the plays: Arrow's own peak stays within a tenth."""
    code = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from tfx_pipeline.contract import prepare
songs = pa.table({"song_id": [f"s{i}" for i in range(2000)], "audio_a": [1.0] * 2000, "audio_b": [2] * 2000})
users = [f"user {i // 40:08d}" for i in range(20_000)]
block = pa.table({"user_id": users, "song_id": [f"s{i % 2000}" for i in range(20_000)]})
for rows in (200_000, 800_000):
    folder = Path(sys.argv[1]) / str(rows)
    folder.mkdir()
    pq.write_table(songs, folder / "songs.parquet")
    with pq.ParquetWriter(folder / "plays.parquet", block.schema) as writer:
        for _ in range(rows // 20_000):
            writer.write_table(block)
    prepare(folder, folder / "out")
    print(pa.default_memory_pool().max_memory())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    assert many < 1.1 * few


def test_many_songs_pass_through_unchanged(tmp_path):
    """Against numpy: 10,000 songs over several batches and row groups."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(10_000, 3)).astype(np.float32)
    numbers = generator.normal(size=10_000)
    lists = [row if index % 3 else None for index, row in enumerate(vectors.tolist())]
    songs = {"song_id": [str(i) for i in range(10_000)], "audio_vector": lists, "audio_number": numbers}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(songs), tmp_path / "in" / "songs.parquet", row_group_size=700)
    pq.write_table(pa.table({"user_id": ["u"], "song_id": ["9"]}), tmp_path / "in" / "plays.parquet")
    prepare(tmp_path / "in", tmp_path / "out")
    out = pq.read_table(tmp_path / "out" / SONGS).to_pydict()
    assert out["song_id"] == songs["song_id"] and out["audio_vector"] == lists
    np.testing.assert_array_equal(np.array(out["audio_number"], np.float32), numbers.astype(np.float32))
