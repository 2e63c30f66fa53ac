"""Parquet of an open file: the right rows, and a process that ends well right after."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that, equal_to

from tfx_pipeline.runtime.parquet_stream import read_rows_of, read_table
from tfx_pipeline.targeting.data.sources import ReadParquet

IDS = ["", "a", "a ", "b", "é", "é", "曲", "z", "zz"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    table = pa.table({"vector": [[1.0, float(place)] for place in range(len(IDS))], "song_id": IDS})
    pq.write_table(table, tmp_path / "songs.parquet", row_group_size=2)
    return tmp_path / "songs.parquet"


def test_all_rows_some_groups_and_some_columns(file: Path) -> None:
    with file.open("rb") as stream:
        assert read_table(stream).equals(pq.read_table(file))
        assert read_table(stream, [1, 4], ["song_id"]).to_pydict() == {"song_id": ["a ", "b", "zz"]}
        assert read_table(stream, []).num_rows == 0


@pytest.mark.parametrize("wanted", [["a"], ["é", "zz"], ["", "nobody"], ["nobody"], [], IDS])
def test_the_rows_of_some_ids(file: Path, wanted: list[str]) -> None:
    with file.open("rb") as stream:
        assert read_rows_of(stream, "song_id", wanted)["song_id"].to_pylist() == [i for i in IDS if i in wanted]


def test_rows_are_found_without_statistics(file: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(file), tmp_path / "bare.parquet", write_statistics=False)
    with (tmp_path / "bare.parquet").open("rb") as stream:
        assert read_rows_of(stream, "song_id", ["曲"])["vector"].to_pylist() == [[1.0, 6.0]]


def test_beam_reads_every_row_group_of_every_file_once(file: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"song_id": ["more"]}), tmp_path / "more.parquet")
    pq.write_table(pa.table({"song_id": pa.array([], pa.string())}), tmp_path / "none.parquet")
    with beam.Pipeline("FnApiRunner") as pipeline:
        tables = pipeline | ReadParquet(str(tmp_path / "*.parquet"))
        assert_that(tables | beam.FlatMap(lambda table: table["song_id"].to_pylist()), equal_to([*IDS, "more"]))
        of_columns = pipeline | "Columns" >> ReadParquet(str(file), ["song_id"])
        names = of_columns | beam.FlatMap(lambda table: table.column_names) | beam.Distinct()
        assert_that(names, equal_to(["song_id"]), label="only what is asked for")


def test_a_process_that_ends_right_after_reading_ends_with_0(tmp_path: Path) -> None:
    """A thread of Arrow that held Python memory at that moment once ended every fourth run with exit code 134."""
    ids = [str(number) for number in range(5000)]
    pq.write_table(pa.table({"user_id": ids, "song_id": ids}), tmp_path / "plays.parquet")
    script = f"""
        import os, sys
        from tfx_pipeline.runtime.parquet_stream import read_rows_of, read_table
        for _ in range(12):
            if not (child := os.fork()):
                stream = open({str(tmp_path / "plays.parquet")!r}, "rb")
                read_rows_of(stream, "song_id", ["7"]), read_table(stream)
                sys.setswitchinterval(5)  # as on a machine so busy that no other thread comes to run
                sys.exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["0"] * 12, "")
