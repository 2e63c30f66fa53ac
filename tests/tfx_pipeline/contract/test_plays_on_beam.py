"""Plays that are too many for one process: Beam finds the same, and says the same where they break the contract."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import CheckConfig, ColumnNames, ContractError, check
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.column_names import PLAIN, Names
from tfx_pipeline.contract.forgotten import Forgotten
from tfx_pipeline.contract.plays_check import check_plays
from tfx_pipeline.contract.source import Source

pytestmark = pytest.mark.pipeline  # Beam

SONGS = pa.array([f"söng {i}" for i in range(7)])
FORGOTTEN = Forgotten(b"k" * 32, frozenset()).and_also(["u3"])


def part(first: int, rows: int = 40, **changes: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "user_id": [f"u{(first + i) % 11}" for i in range(rows)],
        "song_id": [f"söng {(first + i) % 8}" for i in range(rows)],  # every eighth is unknown
        "plays": [i % 4 for i in range(rows)],
        "timestamp": [1_793_491_200 + i for i in range(rows)],
    }
    return pa.table(columns | changes)


def write(folder: Path, *parts: pa.Table) -> Path:
    folder.mkdir(parents=True)
    for number, table in enumerate(parts):
        pq.write_table(table, folder / f"part {number}.parquet", row_group_size=15)
    return folder


def found_by(path: Path, most: int, names: Names = PLAIN, share: float = 0.5) -> dict[str, Any]:
    plays = check_plays(
        Source.at(path, names), SONGS, max_unknown_plays=share, forgotten=FORGOTTEN, config=CheckConfig(most)
    )
    notes = tuple(note for note in plays.notes if "by Beam" not in note)
    assert (len(notes) < len(plays.notes)) == (most == 0)
    return asdict(replace(plays, notes=notes, forgotten=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parts",
    [
        [part(0), part(3, 0), part(5, timestamp=[1_793_491_200_000 + i for i in range(40)]), part(9)],
        [part(0).drop(["timestamp", "plays"]), part(1)],
    ],
    ids=["several", "of several columns"],
)
def test_beam_finds_what_one_process_finds(tmp_path: Path, parts: list[pa.Table]) -> None:
    path = write(tmp_path / "plays", *parts)
    expected = found_by(path, 10**6)
    assert expected["unknown"] and expected["num_users"] == 10
    assert found_by(path, 0) == expected


def test_columns_by_other_names_and_in_names_of_folders(tmp_path: Path) -> None:
    names = Names({"wer": "user_id", "spur": "song_id", "tag": "timestamp"}, "columns.plays")
    own = ["wer", "spur", "plays"]
    for day in ("2026-11-01", "2026-11-02%2010%3A00"):
        write(tmp_path / "plays" / f"tag={day}", part(1).drop(["timestamp"]).rename_columns(own))
    expected = found_by(tmp_path / "plays", 10**6, names)
    assert expected["columns"] == ("user_id", "song_id", "plays", "timestamp")
    assert found_by(tmp_path / "plays", 0, names) == expected


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            [part(0), part(1, user_id=[f"u{i}" if i != 33 else None for i in range(40)]), part(2, plays=[-1] * 40)],
            "part 1.parquet: column `user_id`, row 33 (counted from 0): expected an id",
        ),
        (
            [
                part(0, plays=[-1] * 40),
                part(1, timestamp=[1_793_491_200 * (1000 if i == 20 else 1) for i in range(40)]),
            ],
            "part 1.parquet: column `timestamp`, row 20 (counted from 0): expected seconds since 1970",
        ),
        ([part(0), part(1, song_id=list(range(40)))], "part 1.parquet: column `song_id`: expected strings"),
        ([part(0, plays=[0] * 40)], "expected at least one play of a known song. Received: none"),
    ],
)
def test_messages_are_the_same(tmp_path: Path, parts: list[pa.Table], words: str) -> None:
    path = write(tmp_path / "plays", *parts)
    said = []
    for most in (10**6, 0):
        with pytest.raises(ContractError) as error:
            found_by(path, most)
        said.append(str(error.value))
    assert words in said[0]
    assert said[0] == said[1]


def test_the_setting_says_from_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = {
        "song_id": SONGS,
        "attribute_x": ["a", "b", "a", "b", "a", "b", "a"],
        "audio_y": [float(i) for i in range(7)],
    }
    write(tmp_path / "in" / "plays", part(0).filter(pa.array([i % 8 != 7 for i in range(40)])))
    pq.write_table(pa.table(songs), tmp_path / "in" / "songs.parquet")
    for most, is_by_beam in ((35, False), (34, True)):
        (tmp_path / "settings.json").write_text(json.dumps({"check": {"plays_in_process": most}}))
        assert main([str(tmp_path / "in"), "--for-refresh", "--settings", str(tmp_path / "settings.json")]) == 0
        assert ("35 rows are more than 34 (setting check.plays_in_process)" in capsys.readouterr().out) == is_by_beam
    (tmp_path / "settings.json").write_text(json.dumps({"check": {"plays_in_process": -1}}))
    assert main([str(tmp_path / "in"), "--settings", str(tmp_path / "settings.json")]) == 2
    assert "`plays_in_process` must be at least 0. Received: -1" in capsys.readouterr().err
    assert check(tmp_path / "in", columns=ColumnNames()).num_songs == 7
