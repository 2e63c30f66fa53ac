"""Songs that were taken down, and lists of listeners who must not be targeted, on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import ContractError
from tfx_pipeline.target import main
from tfx_pipeline.targeting import read_summary, read_targets
from tfx_pipeline.targeting.beam import input_tables
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.takedown import drop_matches, drop_songs

pytestmark = pytest.mark.pipeline  # the whole targeting in Beam


@pytest.fixture
def files(world: Any, tmp_path: Path) -> Path:
    for name, schema in (
        ("catalogue", input_tables.CATALOGUE),
        ("matches", input_tables.MATCHES),
        ("plays", input_tables.PLAYS),
    ):
        table = pa.Table.from_pylist(getattr(world, name), schema)
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=7)
    return tmp_path


def run(files: Path, *more: str) -> int:
    inputs = [f"--{name}={files / name}.parquet" for name in ("catalogue", "matches", "plays")]
    return main([*inputs, f"--output={files / 'targets'}", "--rule=count", "--listeners-per-song=7", *more])


def test_a_song_taken_down_is_neither_targeted_nor_a_reason(files: Path, world: Any, capsys: Any) -> None:
    cold = world.matches[0]["song_id"]
    best = world.matches[1]["match_ids"][0]
    assert run(files) == 0
    before = read_targets(str(files / "targets")).to_pylist()
    assert any(row["song_id"] == cold for row in before) and any(best in row["reason_song_ids"] for row in before)

    (files / "gone.csv").write_bytes(f'\ufeff"song_id"\r\n"{cold}"\r\n"{best}"\r\n'.encode())
    assert run(files, f"--takedown={files / 'gone.csv'}") == 0
    after = read_targets(str(files / "targets")).to_pylist()
    assert {row["song_id"] for row in after} == {row["song_id"] for row in before} - {cold}
    assert not any({cold, best} & set(row["reason_song_ids"]) for row in after)
    assert cold not in read_summary(str(files / "targets"))["song_id"].to_pylist()

    (files / "gone.csv").write_text(f"{cold}\nsong-of-nobody\n")
    capsys.readouterr()
    assert run(files, f"--takedown={files / 'gone.csv'}") == 2
    error = capsys.readouterr().err
    assert "expected ids of the catalogue. Received: 1 of 2 that are unknown: 'song-of-nobody'." in error
    assert read_targets(str(files / "targets")).to_pylist() == after
    assert run(files, f"--takedown={files / 'gone.csv'}", "--ignore-missing") == 0


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("lists", [pa.list_, pa.large_list])
def test_matches_lose_the_songs_and_keep_the_rest(text: pa.DataType, lists: Any) -> None:
    table = pa.table(
        {
            "song_id": pa.array(["c0", "gone", "c1", "c2"], text).dictionary_encode(),
            "match_ids": pa.array([["a", "gone", "b"], ["a"], None, ["gone"]], lists(text)),
            "match_scores": pa.array([[0.9, 0.8, 0.7], [0.9], None, [0.5]], lists(pa.float64())),
        }
    )
    assert drop_matches(table, ["gone", "nobody"]).to_pydict() == {
        "song_id": ["c0", "c1", "c2"],
        "match_ids": [["a", "b"], [], []],
        "match_scores": [[0.9, 0.7], [], []],
    }
    assert drop_songs(table, ["gone"])["song_id"].to_pylist() == ["c0", "c1", "c2"]
    assert drop_matches(table.slice(1, 1), ["gone"]).num_rows == 0


ALL = [("u1", None), ("ü2", None)]
LISTS = {
    "lines": ("u1\r\nü2\r\n", ALL),
    "blanks around": (" u1 \n\nü2\t\n", ALL),
    "quotes and a header": ('"user_id"\n"u1"\n"ü2"\n"u1"\n', ALL),
    "a table": ("user_id,song_id\nu1,\nü2,c0\n", [("u1", None), ("ü2", "c0")]),
    "more columns": ("song_id;since;user_id\n c0 ;2026;u1\n;;ü2\n", [("u1", "c0"), ("ü2", None)]),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_listeners(tmp_path: Path, name: str, encoding: str) -> None:
    text, expected = LISTS[name]
    (tmp_path / "opted out.csv").write_bytes(text.encode(encoding))
    table = pq.read_table(as_parquet(str(tmp_path / "opted out.csv"), tmp_path / "aside" / "exclusions.parquet"))
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert table.schema.equals(input_tables.EXCLUSIONS)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.int64()])
def test_parquet_with_one_column(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"id": pa.array(["1", "2"]).cast(kind)}), tmp_path / "out.parquet")
    table = pq.read_table(as_parquet(str(tmp_path / "out.parquet"), tmp_path / "aside.parquet"))
    assert table.to_pydict() == {"user_id": ["1", "2"], "song_id": [None, None]}


def test_what_beam_reads_itself_is_left_to_it(tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a"], "more": [1]}), tmp_path / "out.parquet")
    for given in (str(tmp_path / "out.parquet"), str(tmp_path), str(tmp_path / "*.parquet"), "gs://bucket/out"):
        assert as_parquet(given, tmp_path / "aside.parquet") == given


@pytest.mark.parametrize("text", ["", "\n \n", "user_id\n", "user_id,song_id\n,c0\n"])
def test_exclusions_of_nobody_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.txt").write_text(text)
    with pytest.raises(
        ContractError, match=r"expected at least one listener. Received: none. Leave the exclusions out"
    ):
        as_parquet(str(tmp_path / "out.txt"), tmp_path / "aside.parquet")
    assert not (tmp_path / "aside.parquet").exists()


def test_a_list_keeps_its_listeners_out(files: Path, capsys: Any) -> None:
    assert run(files) == 0
    users = sorted(set(read_targets(str(files / "targets"))["user_id"].to_pylist()))
    (files / "out.txt").write_text("".join(f"{user}\r\n" for user in [*users[:5], "nobody"]))
    capsys.readouterr()
    assert run(files, f"--exclusions={files / 'out.txt'}") == 0
    assert not set(users[:5]) & set(read_targets(str(files / "targets"))["user_id"].to_pylist())
    printed = capsys.readouterr().out
    assert (
        "listeners excluded: 5" in printed
        and "exclusions of unknown listeners: 1" in printed
        and "note:" not in printed
    )
    (files / "out.txt").write_text("nobody\n")
    assert run(files, f"--exclusions={files / 'out.txt'}") == 0
    assert "note: no listener excluded from every song has plays here." in capsys.readouterr().out
