"""Plays in folders by day: a window of the latest days is read, and nothing else is opened."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import PLAYS, ContractError, prepare
from tfx_pipeline.contract.inputs import open_sources
from tfx_pipeline.contract.partitions import day_of, parts_in_window

SONGS = pa.table({"song_id": ["a", "ü b"], "attribute_x": ["p", "q"], "audio_y": [1.0, 2.0]})


def write(folder: Path, *names: str, users: dict[str, str] | None = None) -> Path:
    folder.mkdir()
    pq.write_table(SONGS, folder / "songs.parquet")
    for name in names:
        path = folder / "plays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"user_id": [f"in {name}"], "song_id": ["ü b"]}), path)
    return folder


def read(given: Path, out: Path, window: int | None) -> list[Any]:
    prepare(given, out, window=window)
    return sorted(pq.read_table(out / PLAYS)["user_id"].to_pylist())


@pytest.mark.parametrize(
    ("names", "last"),
    [
        (["date=2026-11-01/a.parquet", "date=2026-11-02/a.parquet", "date=2026-11-09/a b.parquet"], [1, 2]),
        (["dt=20261031/p/x.parquet", "dt=20261101/x.parquet", "dt=20261102/x.parquet"], [1, 2]),
        (
            [
                "year=2025/month=12/day=31/x.parquet",
                "year=2026/month=1/day=1/x.parquet",
                "year=2026/month=1/day=10/x.pq",
            ],
            [1, 2],
        ),
        (
            [
                *("at=2026-11-01%2009%3A30%3A00/x.parquet", "at=2026-11-02%2000%3A00%3A00/x.parquet"),
                *("at=2026-11-02%2023%3A59%3A59/ü.parquet", "at=2026-11-03%2000%3A00%3A00/x.parquet"),
            ],
            [1, 2, 3],
        ),
        (
            ["land=DE/date=2026-11-02/x.parquet", "land=CH/date=2026-11-03/x.parquet", "land=DE/date=2026-11-01/x.pq"],
            [0, 1],
        ),
        (["date=2026-11-01/x.parquet", "date=__HIVE_DEFAULT_PARTITION__/x.parquet", "date=2026-10-31/x.pq"], [0, 2]),
    ],
)
def test_the_latest_days_are_read(tmp_path: Path, names: list[str], last: list[int]) -> None:
    given = write(tmp_path / "in", *names)
    assert read(given, tmp_path / "out", 2) == sorted(f"in {names[place]}" for place in last)
    assert read(given, tmp_path / "out", None) == sorted(f"in {name}" for name in names)


def test_other_days_are_not_opened(tmp_path: Path) -> None:
    """They hold no Parquet at all, so that reading one would be an error."""
    days = [f"date=2026-{month:02d}-{day:02d}/part 0.parquet" for month in (9, 10) for day in range(1, 29)]
    given = write(tmp_path / "in", *days)
    for name in days[:-3]:
        (given / "plays" / name).write_bytes(b"no Parquet")
    assert read(given, tmp_path / "out", 3) == sorted(f"in {name}" for name in days[-3:])
    with pytest.raises(ContractError, match=r"date=2026-09-01/part 0\.parquet: expected a Parquet file"):
        prepare(given, tmp_path / "out")


def test_a_change_outside_the_window_changes_nothing(tmp_path: Path) -> None:
    given = write(tmp_path / "in", "date=2026-11-01/x.parquet", "date=2026-11-02/x.parquet")
    prepare(given, tmp_path / "out", window=1)
    before = (tmp_path / "out" / PLAYS).stat().st_ino
    (given / "plays" / "date=2026-11-01" / "x.parquet").write_bytes(b"no Parquet")
    prepare(given, tmp_path / "out", window=1)
    assert (tmp_path / "out" / PLAYS).stat().st_ino == before


def test_a_thousand_parts_of_one_day_and_one_of_another(tmp_path: Path) -> None:
    given = write(tmp_path / "in", "date=2026-11-01/x.parquet")
    (given / "plays" / "date=2026-11-02").mkdir()
    source = given / "plays" / "date=2026-11-01" / "x.parquet"
    for number in range(1000):
        (given / "plays" / "date=2026-11-02" / f"part-{number:04d}.parquet").hardlink_to(source)
    with open_sources(given, window=1) as (_, plays, notes):
        assert sum(len(rows) for rows in plays.batches(["user_id"])) == 1000
    assert "Of plays, 1 days are read, from 2026-11-02 to 2026-11-02." in notes
    assert len(parts_in_window(given / "plays", 2)[0]) == 1001


def test_a_window_without_days_is_said(tmp_path: Path) -> None:
    given = write(tmp_path / "in", "land=DE/x.parquet", "land=2026-13-01/x.parquet")
    catalogue = prepare(given, tmp_path / "out", window=1)
    assert catalogue.num_plays == 2
    assert any("The window is not read" in note for note in catalogue.notes)
    with pytest.raises(ValueError, match="`window` must be at least 1"):
        prepare(given, tmp_path / "out", window=0)


def test_days_in_names() -> None:
    assert day_of({"a": "x", "b": "2026-11-01"}) == date(2026, 11, 1)
    assert day_of({"Year": "2026", "month": "02", "DAY": "3"}) == date(2026, 2, 3)
    for keys in ({}, {"d": None}, {"d": "2026-02-30"}, {"year": "2026", "month": "2"}, {"d": "2026-11-01x"}):
        assert day_of(keys) is None
