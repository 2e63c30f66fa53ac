"""Days joined into a rolling window, ten of them through to what became of the targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline import contract
from tfx_pipeline.cold_split import NEW, WARM, ColdSplit
from tfx_pipeline.contract import ContractError
from tfx_pipeline.spans import find_spans, join_spans

SONGS = pa.schema([("song_id", pa.string()), ("attribute_genre", pa.string()), ("audio_tempo", pa.float64())])


def write(folder: Path, number: int, songs: list[tuple], plays: list[tuple], schema: pa.Schema = SONGS) -> Path:
    span = folder / f"span-{number}"
    span.mkdir(parents=True)
    pq.write_table(
        pa.table([list(c) for c in zip(*songs, strict=True)] or [[]] * len(schema), schema=schema),
        span / "songs.parquet",
    )
    columns = list(zip(*plays, strict=True)) or [[], []]
    pq.write_table(
        pa.table({"user_id": pa.array(columns[0], pa.string()), "song_id": pa.array(columns[1], pa.string())}),
        span / "plays.parquet",
    )
    return span


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "days"
    write(folder, 9, [("a", "pop", 90.0), ("b", "pop", 91.0)], [("u", "a"), ("v", "b")])
    write(folder, 10, [("c", "jazz", 92.0), ("a", "rock", 93.0)], [("u", "c")])
    write(folder, 11, [], [("v", "c"), ("u", "a")])
    return folder


def rows(file: Path) -> list[tuple]:
    return [tuple(row.values()) for row in pq.read_table(file).to_pylist()]


def test_the_latest_row_of_a_song_stands_and_plays_roll(days: Path, tmp_path: Path) -> None:
    read = join_spans(days, tmp_path / "out", window=2)
    assert [span.number for span in read] == [10, 11]  # by number, not by name
    assert rows(tmp_path / "out" / "songs.parquet") == [("a", "rock", 93.0), ("b", "pop", 91.0), ("c", "jazz", 92.0)]
    assert rows(tmp_path / "out" / "plays.parquet") == [("u", "c"), ("v", "c"), ("u", "a")]
    join_spans(days, tmp_path / "out", until=9)  # takes the place of what was there
    assert rows(tmp_path / "out" / "songs.parquet") == [("a", "pop", 90.0), ("b", "pop", 91.0)]
    assert find_spans(tmp_path / "out") == []


def test_a_column_that_came_later_is_missing_before(days: Path, tmp_path: Path) -> None:
    write(
        days,
        12,
        [("d", "pop", 1.0, ["x"])],
        [("u", "d")],
        SONGS.append(pa.field("attribute_tags", pa.list_(pa.string()))),
    )
    join_spans(days, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "songs.parquet")
    assert table["attribute_tags"].to_pylist() == [None, None, None, ["x"]]


def test_bad_spans_are_named(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="`window` must be at least 1. Received: 0"):
        join_spans(days, out, window=0)
    with pytest.raises(ContractError, match="expected folders named span-<number>. Received: none up to 3"):
        join_spans(days, out, until=3)
    with pytest.raises(ContractError, match="expected folders named span-<number>. Received: none"):
        join_spans(tmp_path / "nowhere", out)
    (days / "songs.parquet").write_bytes((days / "span-11" / "songs.parquet").read_bytes())
    with pytest.raises(ContractError, match=r"expected either spans or .* Received: \['songs.parquet'\]"):
        join_spans(days, out)
    (days / "songs.parquet").unlink()
    (days / "span-11" / "plays.parquet").unlink()
    with pytest.raises(ContractError, match=r"span-11/plays.parquet: expected a Parquet file. Received: none"):
        join_spans(days, out)
    assert not out.exists()
    write(days, 13, [("e", "pop", 1)], [("u", "e")], pa.schema([*list(SONGS)[:2], ("audio_tempo", pa.int64())]))
    with pytest.raises(
        ContractError, match=r"span-13/songs.parquet: column `audio_tempo`: expected double as in .*span-9"
    ):
        join_spans(days, out)
    pq.write_table(pa.table({"song": ["e"]}), days / "span-13" / "songs.parquet")
    with pytest.raises(
        ContractError, match=r"span-13/songs.parquet: column `song_id`: .* Received: columns \['song'\]"
    ):
        join_spans(days, out)
    (days / "span-13" / "songs.parquet").write_text("song_id\ne\n")
    with pytest.raises(ContractError, match=r"span-13/songs.parquet: expected a Parquet file"):
        join_spans(days, out)
    assert not out.exists()


def test_over_ten_days_cold_songs_get_plays_and_become_warm(tmp_path: Path) -> None:
    rng, days = np.random.default_rng(0), tmp_path / "days"
    listeners = [f"u{i}" for i in range(40)]
    for day in range(10):
        songs = [(f"s{day}-{i}", "pop" if i % 2 else "jazz", float(i)) for i in range(12)]
        older = [f"s{earlier}-{i}" for earlier in range(max(0, day - 2), day + 1) for i in range(12)]
        plays = [(user, song) for user in listeners for song in rng.choice(older, 3, replace=False)]
        write(days, day, songs, [] if day == 0 else plays)
    split, warm_on = ColdSplit(), {}
    for day in range(1, 10):
        join_spans(days, tmp_path / "joined", window=3, until=day)
        catalogue = contract.prepare(tmp_path / "joined", tmp_path / "input")
        assert catalogue.num_songs == 12 * (day + 1)
        plays = pq.read_table(tmp_path / "joined" / "plays.parquet")
        heard = plays.group_by("song_id").aggregate([("user_id", "count_distinct")]).to_pydict()
        counts = dict(zip(heard["song_id"], heard["user_id_count_distinct"], strict=True))
        ids = pq.read_table(tmp_path / "joined" / "songs.parquet")["song_id"].to_pylist()
        warm_on[day] = {song for song in ids if split.assign(song.encode(), counts.get(song, 0)) == WARM}
        assert not any(song in counts for song in ids if split.assign(song.encode(), counts.get(song, 0)) == NEW)
    first: dict[str, int] = {}
    for span in find_spans(days):
        for song in pq.read_table(span.folder / "plays.parquet")["song_id"].to_pylist():
            first.setdefault(song, span.number)
    assert all(first[song] <= day for day, songs in warm_on.items() for song in songs)
    later = [song for song in warm_on[9] if song.startswith("s7-")]
    assert later and not warm_on[6] & set(later)  # not there yet
    assert not any(song.startswith("s1-") for song in warm_on[9])  # its plays have left the window
