"""Column names of the user's own beyond the contract: refreshes, lists, tables of listeners, forgetting, targeting."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.savedmodel.raw_fields import RawField
from tfx_pipeline.contract import ColumnNames, ContractError, prepare
from tfx_pipeline.contract.forgotten import NAME, Forgotten
from tfx_pipeline.forget import main as forget
from tfx_pipeline.index_refresh.new_songs import NewSongs
from tfx_pipeline.targeting.data.exclusions import as_parquet
from tfx_pipeline.targeting.data.forgotten import without_forgotten

COLUMNS = ColumnNames(
    songs={"listener": "song_id", "mood": "attribute", "bpm": "audio_tempo"},  # `listener` means another thing there
    plays={"listener": "user_id", "слушал": "song_id"},
)
GONE, STAYS = "u7", "u70"  # short: in songs, `u7` is a song


def write_songs(path: Path) -> None:
    songs = {"listener": [GONE, "s2", "s3"], "mood": ["a", "b", "a"], "bpm": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(songs), path)


def test_a_refresh_reads_songs_by_the_users_names(tmp_path: Path) -> None:
    write_songs(tmp_path / "new songs.parquet")
    fields = [RawField("attribute_mood", "category"), RawField("audio_tempo", "number")]
    songs = NewSongs(tmp_path / "new songs.parquet", fields, names=COLUMNS.of("songs"))
    assert list(songs.ids()) == [GONE, "s2", "s3"]
    assert songs.passed_over == ()
    with pytest.raises(ContractError, match="column `bpm`: expected a column of kind category"):
        NewSongs(tmp_path / "new songs.parquet", [RawField("audio_tempo", "category")], names=COLUMNS.of("songs"))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_exclusions_are_read_by_the_users_names(tmp_path: Path, suffix: str) -> None:
    given = tmp_path / f"opted out{suffix}"
    if suffix == ".csv":
        given.write_text(f"слушал,listener\ns2,{GONE}\n,{STAYS}\n", encoding="utf-8")
    else:
        pq.write_table(pa.table({"слушал": ["s2", None], "listener": [GONE, STAYS]}), given)
    read = pq.read_table(as_parquet(str(given), tmp_path / "aside.parquet", COLUMNS.of("plays")))
    assert read.to_pydict() == {"user_id": [GONE, STAYS], "song_id": ["s2", None]}


def test_a_table_of_listeners_is_read_by_the_users_names(tmp_path: Path) -> None:
    Forgotten.none().and_also([GONE]).write(tmp_path / NAME)
    pq.write_table(pa.table({"listener": [GONE, STAYS], "embedding": [[1.0], [2.0]]}), tmp_path / "given.parquet")
    read = without_forgotten(tmp_path / "given.parquet", tmp_path / "aside.parquet", COLUMNS.of("plays"))
    assert pq.read_table(read).to_pydict() == {"user_id": [STAYS], "embedding": [[2.0]]}


def test_forgetting_finds_listeners_by_the_users_names_and_keeps_songs_of_that_name(tmp_path: Path) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    (data / "plays").mkdir(parents=True)
    write_songs(data / "songs.parquet")
    plays = {"listener": [GONE, STAYS, GONE, STAYS], "слушал": ["s2", "s3", "s3", "s2"]}
    pq.write_table(pa.table(plays), data / "plays" / "part 0.parquet")
    prepare(data, run / "input", columns=COLUMNS)
    (tmp_path / "gone.csv").write_text(f"why,listener\nasked,{GONE}\n", encoding="utf-8")
    assert forget([str(run), "--users", str(tmp_path / "gone.csv"), "--data", str(data)]) == 0
    assert pq.read_table(data / "plays" / "part 0.parquet")["listener"].to_pylist() == [STAYS, STAYS]
    assert pq.read_table(data / "songs.parquet")["listener"].to_pylist() == [GONE, "s2", "s3"]
    assert prepare(data, run / "input", columns=COLUMNS).num_users == 1


@pytest.mark.pipeline  # the whole targeting in Beam
def test_targeting_reads_plays_by_the_users_names(tmp_path: Path) -> None:
    from tfx_pipeline.target import main as target
    from tfx_pipeline.targeting import read_targets

    vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    catalogue = {"song_id": ["n", "s2", "s3"], "split": ["new", "warm", "warm"]}
    pq.write_table(
        pa.table({**catalogue, "embedding": vectors, "candidate_embedding": vectors}), tmp_path / "catalogue.parquet"
    )
    matches = {"song_id": ["n"], "match_ids": [["s3", "s2"]], "match_scores": [[0.9, 0.1]]}
    pq.write_table(pa.table(matches), tmp_path / "matches.parquet")
    pq.write_table(pa.table({"listener": ["x", "y", GONE], "слушал": ["s3", "s2", "s3"]}), tmp_path / "plays.parquet")
    pq.write_table(pa.table({"listener": [GONE], "слушал": ["n"]}), tmp_path / "out.parquet")
    settings = {"columns": {"plays": COLUMNS.plays}}
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    arguments = [f"--{name}={tmp_path / name}.parquet" for name in ("catalogue", "matches", "plays")]
    arguments += [f"--exclusions={tmp_path / 'out.parquet'}", f"--settings={tmp_path / 'settings.json'}"]
    assert target([*arguments, f"--output={tmp_path / 'targets'}", "--listeners-per-song=5"]) == 0
    found = read_targets(str(tmp_path / "targets"))["user_id"].to_pylist()
    assert "x" in found
    assert GONE not in found
