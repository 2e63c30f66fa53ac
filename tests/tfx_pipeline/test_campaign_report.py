"""What became of targets, against a count by hand and scipy's interval."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from tfx_pipeline.campaign_report import main
from tfx_pipeline.targeting import read_targets
from tfx_pipeline.targeting.outcomes import Share, as_text, outcomes

pytestmark = pytest.mark.pipeline  # the report on what the targeting wrote in Beam

TARGETS = pa.table(
    {
        "song_id": ["a", "a", "a", "b", "b", "b"],
        "user_id": ["u", "v", "w", "u", "v", "x"],
        "group": ["target", "target", "held_aside", "target", "held_aside", "target"],
    }
)
PLAYS = pa.table(
    {
        "user_id": ["u", "u", "u", "v", "w", "w", "y"],
        "song_id": ["a", "a", "b", "b", "a", "c", "a"],
        "plays": pa.array([1, 2, 0, None, 5, 1, 1], pa.int64()),
        "liked": [False, True, True, None, False, True, True],
    }
)


def test_each_target_counts_once() -> None:
    (target, aside), songs = outcomes(TARGETS, PLAYS)
    assert target.liked is not None and aside.liked is not None
    assert (target.songs, target.reached.count, target.played.count, target.liked.count) == (2, 3, 1, 1)
    assert (aside.songs, aside.reached.count, aside.played.count, aside.liked.count) == (2, 2, 2, 0)
    assert (target.played.of, aside.played.of) == (4, 2)
    assert songs.to_pylist()[0] == {
        "song_id": "a", "group": "held_aside", "targeted": 1, "reached": 1, "played": 1, "liked": 0,
    }  # fmt: skip
    assert len(songs) == 4


def test_plays_need_neither_counts_nor_likes() -> None:
    (target, _), _ = outcomes(TARGETS, PLAYS.select(["user_id", "song_id"]))
    assert target.played.count == 2 and target.liked is None
    assert "not known" in as_text([target])


@pytest.mark.parametrize("columns", [["user_id", "song_id"], ["user_id", "song_id", "plays"], list(PLAYS.column_names)])
def test_how_tables_are_cut_into_chunks_changes_nothing(columns: list[str]) -> None:
    """Plays of more than one batch, or of several files, come as several chunks; so do targets of several shards."""
    plays = PLAYS.select(columns)
    cut = [pa.concat_tables([table.slice(row, 1) for row in range(len(table))]) for table in (TARGETS, plays)]
    wanted, songs = outcomes(TARGETS, plays)
    found, cut_songs = outcomes(*cut)
    assert found == wanted and cut_songs.to_pylist() == songs.to_pylist()


@pytest.mark.parametrize(("count", "of"), [(0, 10), (3, 10), (10, 10), (7, 5000)])
def test_intervals_are_wilsons(count: int, of: int) -> None:
    share, expected = Share.at(count, of), binomtest(count, of).proportion_ci(method="wilson")
    assert (share.low, share.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_song_nobody_was_targeted_for_says_nothing() -> None:
    (target, aside), songs = outcomes(TARGETS.slice(0, 0), PLAYS)
    assert (target.played.mean, target.played.low, target.played.high) == (0.0, 0.0, 1.0)
    assert aside.songs == len(songs) == 0


def test_the_command_reads_what_the_step_wrote(written_targets: Path, tmp_path: Path, capsys) -> None:
    row = read_targets(str(written_targets)).slice(0, 1).to_pylist()[0]
    pq.write_table(pa.table({"user_id": [row["user_id"]], "song_id": [row["song_id"]]}), tmp_path / "plays.parquet")
    arguments = ["--targets", str(written_targets), "--plays", str(tmp_path / "plays.parquet")]
    assert main([*arguments, "--out", str(tmp_path / "report.json")]) == 0
    assert "held_aside" in capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert sum(group["played"]["count"] for group in report["groups"]) == 1
    assert main(["--targets", str(written_targets), "--plays", str(tmp_path / "none.parquet")]) == 2
    assert "none.parquet: expected a Parquet file. Received: none" in capsys.readouterr().err
    pq.write_table(pa.table({"user_id": ["u"]}), tmp_path / "plays.parquet")
    assert main(arguments) == 2
    assert "column `song_id`" in capsys.readouterr().err


def test_the_command_reads_what_a_run_published(written_targets: Path, tmp_path: Path, capsys) -> None:
    targets = read_targets(str(written_targets))
    row = targets.slice(0, 1).to_pylist()[0]
    pq.write_table(pa.table({"user_id": [row["user_id"]], "song_id": [row["song_id"]]}), tmp_path / "plays.parquet")
    pq.write_table(targets, tmp_path / "targets.parquet", row_group_size=2)
    printed = []
    for written in (written_targets, tmp_path / "targets.parquet"):
        assert main(["--targets", str(written), "--plays", str(tmp_path / "plays.parquet")]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    pq.write_table(targets.drop(["group"]), tmp_path / "targets.parquet")
    assert main(["--targets", str(tmp_path / "targets.parquet"), "--plays", str(tmp_path / "plays.parquet")]) == 2
    assert "targets.parquet: expected a column `group`" in capsys.readouterr().err


def test_plays_may_be_a_folder_of_parts(written_targets: Path, tmp_path: Path) -> None:
    rows = read_targets(str(written_targets)).slice(0, 2).to_pylist()
    for day, (row, counts) in enumerate(zip(rows, (pa.array([1.0]), pa.array([2])), strict=True)):
        part = tmp_path / "plays" / f"date=2026-11-0{day + 1}"
        part.mkdir(parents=True)
        plays = pa.table({"plays": counts, "user_id": [row["user_id"]], "song_id": [row["song_id"]]})
        pq.write_table(plays, part / "0.parquet")
    (tmp_path / "plays" / "_SUCCESS").write_bytes(b"")
    arguments = ["--targets", str(written_targets), "--plays", str(tmp_path / "plays")]
    assert main([*arguments, "--out", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert sum(group["played"]["count"] for group in report["groups"]) == 2


@pytest.mark.parametrize(
    "columns",
    [
        {"liked": pa.array([1, 0, None], pa.int64())},
        {"liked": pa.array([True, False, None]), "plays": pa.nulls(3)},
        {"plays": pa.array([2, None, 0], pa.uint8())},
        {"user_id": pa.array(["u", "v", "w"], pa.large_string())},
        {"song_id": pa.array(["a", "a", "b"]).dictionary_encode()},
    ],
)
def test_the_command_reads_whatever_the_contract_accepts(columns, written_targets: Path, tmp_path: Path) -> None:
    plays = {"user_id": ["u", "v", "w"], "song_id": ["a", "a", "b"], **columns}
    pq.write_table(pa.table(plays), tmp_path / "plays.parquet")
    assert main(["--targets", str(written_targets), "--plays", str(tmp_path / "plays.parquet")]) == 0


def test_plays_that_cannot_be_read_are_named(written_targets: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "plays.parquet"
    arguments = ["--targets", str(written_targets), "--plays", str(file)]
    file.write_text("user_id,song_id\nu,a\n")
    assert main(arguments) == 2
    assert "plays.parquet: expected a Parquet file" in capsys.readouterr().err
    pq.write_table(pa.table({"user_id": ["u"], "song_id": ["a"], "plays": ["many"]}), file)
    assert main(arguments) == 2
    assert "column `plays`: expected whole numbers" in capsys.readouterr().err


@pytest.fixture
def written_targets(tmp_path: Path) -> Path:
    """A small targeting run on tables written here."""
    from tfx_pipeline import target

    vectors = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.9, 0.1]]
    columns = {
        "song_id": ["a", "b", "c", "new"],
        "split": ["warm"] * 3 + ["new"],
        "embedding": vectors,
        "candidate_embedding": vectors,
    }
    pq.write_table(pa.table(columns), tmp_path / "catalogue.parquet")
    matches = {"song_id": ["new"], "match_ids": [["a", "b"]], "match_scores": [[0.9, 0.8]]}
    pq.write_table(pa.table(matches), tmp_path / "matches.parquet")
    plays = {"user_id": [f"u{i}" for i in range(12)], "song_id": list("abcabcabcabc")}
    pq.write_table(pa.table(plays), tmp_path / "listened.parquet")
    files = {"catalogue": "catalogue", "matches": "matches", "plays": "listened"}
    inputs = [f"--{name}={tmp_path / f'{file}.parquet'}" for name, file in files.items()]
    assert target.main([*inputs, f"--output={tmp_path / 'targets'}", "--held-aside=0.5"]) == 0
    return tmp_path / "targets"
