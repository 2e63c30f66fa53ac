"""Days read as one catalogue: rolling plays, latest songs, every type a tool may give a column; ten days in a row."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfx_pipeline import contract
from tfx_pipeline.contract import ContractError
from tfx_pipeline.contract.columns import Place
from tfx_pipeline.contract.kinds import clean
from tfx_pipeline.contract.play_columns import to_counts
from tfx_pipeline.contract.spans import find_spans
from tfx_pipeline.contract.splits import NEW, WARM, ColdSplit

SONGS = pa.schema([("song_id", pa.string()), ("attribute_genre", pa.string()), ("audio_tempo", pa.float64())])


def write(folder: Path, number: int | str, songs: list[tuple], plays: list[tuple], schema: pa.Schema = SONGS) -> Path:
    span = folder / (f"span-{number}" if isinstance(number, int) else number)
    columns = list(zip(*plays, strict=True)) or [(), ()]
    write_tables(
        span,
        pa.table([list(c) for c in zip(*songs, strict=True)] or [[]] * len(schema), schema=schema),
        pa.table({"user_id": pa.array(columns[0], pa.string()), "song_id": pa.array(columns[1], pa.string())}),
    )
    return span


def write_tables(span: Path, songs: pa.Table, plays: pa.Table) -> None:
    span.mkdir(parents=True, exist_ok=True)
    pq.write_table(songs, span / "songs.parquet")
    pq.write_table(plays, span / "plays.parquet")


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "days"
    write(folder, 9, [("a", "pop", 90.0), ("b", "pop", 91.0)], [("u", "a"), ("v", "b")])
    write(folder, 10, [("c", "jazz", 92.0), ("a", "rock", 93.0)], [("u", "c")])
    write(folder, 11, [], [("v", "c"), ("u", "a")])
    return folder


def songs_of(out: Path) -> list[tuple]:
    return sorted(tuple(row.values()) for row in pq.read_table(out / contract.SONGS).to_pylist())


def plays_of(out: Path) -> list[tuple]:
    return [tuple(row.values())[:2] for row in pq.read_table(out / contract.PLAYS).to_pylist()]


def test_the_latest_row_of_a_song_stands_and_plays_roll(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    catalogue = contract.prepare(days, out, window=2)  # by number, not by name
    assert (catalogue.num_songs, catalogue.num_plays) == (3, 3)
    assert songs_of(out) == [("a", "rock", 93.0), ("b", "pop", 91.0), ("c", "jazz", 92.0)]
    assert plays_of(out) == [("u", "c"), ("v", "c"), ("u", "a")]
    contract.prepare(days, out, until=9)  # takes the place of what was there
    assert songs_of(out) == [("a", "pop", 90.0), ("b", "pop", 91.0)]
    assert contract.check(days).num_plays == 5


def test_what_was_prepared_from_days_is_left_alone_until_a_day_changes(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = contract.prepare(days, out)
    inode = (out / contract.SONGS).stat().st_ino
    assert contract.prepare(days, out) == first and (out / contract.SONGS).stat().st_ino == inode
    write(days, 12, [("d", "pop", 1.0)], [("u", "d")])
    assert contract.prepare(days, out).num_songs == 4


def test_a_column_that_came_later_is_missing_before(days: Path, tmp_path: Path) -> None:
    tags = SONGS.append(pa.field("attribute_tags", pa.list_(pa.string())))
    write(days, 12, [("d", "pop", 1.0, ["x"])], [("u", "d")], tags)
    contract.prepare(days, tmp_path / "out")
    assert [row[-1] for row in songs_of(tmp_path / "out")] == [None, None, None, ["x"]]


# For each column of songs: forms in which tools write the same two values, and what the pipeline reads.
NOON = datetime.datetime(2026, 11, 1, 12)
SONG_SHAPES = {
    "audio_number": (
        [
            pa.array([1.0, 2.0]),
            pa.array([1, 2], pa.int64()),
            pa.array([1, 2], pa.int32()),
            pa.array([1, 2], pa.uint8()),
            pa.array([1, 2], pa.float32()),
            pa.array([Decimal("1.00"), Decimal("2.00")], pa.decimal128(9, 2)),
            pa.array([1.0, 2.0]).dictionary_encode(),
        ],
        [1.0, 2.0],
    ),
    "attribute_word": (
        [
            pa.array(["é", "日本"]),
            pa.array(["é", "日本"], pa.large_string()),
            pa.array(["é", "日本"]).dictionary_encode(),
        ],
        ["é", "日本"],
    ),
    "attribute_words": (
        [
            pa.array([["a", "b"], ["c"]]),
            pa.array([["a", "b"], ["c"]], pa.list_(pa.field("element", pa.large_string()))),
            pa.array([["a", "b"], ["c"]], pa.large_list(pa.string())),
            pa.array([["a", "b"], ["c"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        ],
        [["a", "b"], ["c"]],
    ),
    "lyric_vector": (
        [
            pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.float64())),
            pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.field("element", pa.float32()))),
            pa.array([[0.5, 1.5], [2.5, 3.5]], pa.list_(pa.float32(), 2)),
            pa.array([[0.5, 1.5], [2.5, 3.5]], pa.large_list(pa.float32())),
        ],
        [[0.5, 1.5], [2.5, 3.5]],
    ),
    "released": (
        [
            pa.array([NOON, NOON], pa.timestamp("us")),
            pa.array([NOON, NOON], pa.timestamp("ns")),
            pa.array(["2026-11-01 12:00:00"] * 2),
        ],
        ["2026-11-01 12:00:00"] * 2,
    ),
}
# The same of plays: five plays, then a like of the first only, then noon of that day in seconds.
MILLIS = 1_793_534_400_000
PLAY_SHAPES = {
    "plays": (
        [
            pa.array([5, 5], pa.int64()),
            pa.array([5, 5], pa.uint16()),
            pa.array([5.0, 5.0]),
            pa.array([5, 5], pa.float32()),
            pa.array([Decimal(5)] * 2, pa.decimal128(38, 0)),
            pa.array([Decimal("5.000")] * 2, pa.decimal256(60, 3)),
        ],
        [5, 5],
    ),
    "liked": (
        [
            pa.array([True, False]),
            pa.array([1, 0], pa.int8()),
            pa.array([1.0, 0.0]),
            pa.array([Decimal(1), Decimal(0)], pa.decimal128(5, 1)),
        ],
        [1, 0],
    ),
    "timestamp": (
        [
            *(pa.array([MILLIS] * 2, pa.timestamp("ms")).cast(pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
            pa.array([MILLIS] * 2, pa.timestamp("ms", "Europe/Berlin")),
            pa.array([MILLIS // 1000] * 2),
            pa.array([MILLIS] * 2),
            pa.array([MILLIS * 1000] * 2),
            pa.array([MILLIS * 10**6] * 2),
            pa.array([float(MILLIS)] * 2),
            pa.array([Decimal(MILLIS) / 1000] * 2, pa.decimal128(20, 3)),
            pa.array(["2026-11-01T12:00:00Z"] * 2),
            pa.array(["2026-11-01 13:00:00+01:00"] * 2, pa.large_string()),
        ],
        [MILLIS // 1000] * 2,
    ),
}


@pytest.mark.parametrize("name", SONG_SHAPES)
def test_days_of_songs_may_differ_in_every_way_in_which_each_alone_is_taken(name: str, tmp_path: Path) -> None:
    shapes, wanted = SONG_SHAPES[name]
    for day, column in enumerate([*shapes, pa.nulls(2)]):
        columns = {
            "song_id": [f"{day} {row}" for row in range(2)],
            name: column,
            "attribute_a": ["x", "y"],
            "audio_b": [1, 2],
        }
        names = list(columns) if day % 2 else list(reversed(columns))
        plays = pa.table({"user_id": ["u", "v"], "song_id": columns["song_id"]})
        write_tables(tmp_path / "days" / f"span-{day}", pa.table({key: columns[key] for key in names}), plays)
    write_tables(tmp_path / "days" / "span-100", pa.table({"song_id": ["z"], "attribute_a": ["x"]}), plays)
    write_tables(tmp_path / "days" / "span-101", pa.table({"song_id": pa.nulls(0), name: pa.nulls(0)}), plays)
    contract.prepare(tmp_path / "days", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / contract.SONGS)
    found = dict(zip(table["song_id"].to_pylist(), table[name].to_pylist(), strict=True))
    for day in range(len(shapes)):
        assert [found[f"{day} {row}"] for row in range(2)] == wanted, shapes[day].type
    assert found["z"] is None and found[f"{len(shapes)} 0"] is None


@pytest.mark.parametrize("name", PLAY_SHAPES)
def test_days_of_plays_may_differ_in_every_way_in_which_each_alone_is_taken(name: str, tmp_path: Path) -> None:
    shapes, wanted = PLAY_SHAPES[name]
    songs = pa.table({"song_id": ["a", "b"], "attribute_a": ["x", "y"], "audio_b": [1, 2]})
    ids = [pa.array(["a", "b"]), pa.array(["a", "b"], pa.large_string()), pa.array(["a", "b"]).dictionary_encode()]
    for day, column in enumerate([*shapes, pa.nulls(2)]):
        plays = pa.table({name: column, "user_id": ["u", "v"], "song_id": ids[day % 3]})
        write_tables(tmp_path / "days" / f"span-{day}", songs, plays)
        alone = contract.prepare(tmp_path / "days" / f"span-{day}", tmp_path / "alone")
        assert alone.num_plays == 2
    write_tables(tmp_path / "days" / "span-100", songs, plays.drop([name]))
    contract.prepare(tmp_path / "days", tmp_path / "out")
    found = pq.read_table(tmp_path / "out" / contract.PLAYS)[name].to_pylist()
    for day, shape in enumerate(shapes):
        assert found[2 * day : 2 * day + 2] == wanted, shape.type
    assert found[-4:] == [{"plays": 1, "liked": 0, "timestamp": None}[name]] * 4


def test_types_that_not_every_arrow_writes_to_parquet() -> None:
    halves = pa.array(np.array([5, 0], np.float16))
    assert to_counts(halves, Place("plays.parquet", "plays")).to_pylist() == [5, 0]
    assert clean("number", halves, Place("songs.parquet", "audio_a")).to_pylist() == [5.0, 0.0]
    if not hasattr(pa, "string_view"):
        pytest.skip("this version of Arrow has no string_view")
    cleaned = clean("category", pa.array(["é", "", None], pa.string_view()), Place("songs.parquet", "attribute_a"))
    assert cleaned.type == pa.string() and cleaned.to_pylist() == ["é", None, None]


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (pa.array(["1"]), "category (string)"),
        (pa.array([["1"]]), "multi_category (list<"),
        (pa.array([[1.0]]), "vector (list<"),
    ],
)
def test_kinds_that_conflict_name_both_files_the_column_and_both_types(
    days: Path, tmp_path: Path, column: pa.Array, shown: str
) -> None:
    songs = pa.table({"song_id": ["d"], "attribute_genre": ["pop"], "audio_tempo": column})
    write_tables(days / "span-12", songs, pa.table({"user_id": ["u"], "song_id": ["d"]}))
    with pytest.raises(ContractError) as error:
        contract.prepare(days, tmp_path / "out")
    words = str(error.value)
    assert words.startswith(f"{days / 'span-12' / 'songs.parquet'}: column `audio_tempo`: expected number (double)")
    assert f"as in {days / 'span-9' / 'songs.parquet'}. Received: {shown}" in words and "\n" not in words
    assert not (tmp_path / "out").exists()


def test_a_bad_value_is_named_by_its_day_and_its_own_row(days: Path, tmp_path: Path) -> None:
    write(days, 12, [("d", "pop", 1.0), ("e", "pop", float("nan"))], [("u", "d")])
    with pytest.raises(ContractError, match=r"span-12/songs.parquet: column `audio_tempo`, row 1 \(.*nan"):
        contract.prepare(days, tmp_path / "out")
    write(days, 12, [("d", "pop", 1.0)], [("u", "d"), ("v", "")])
    with pytest.raises(ContractError, match=r"span-12/plays.parquet: column `song_id`, row 1 \(.*empty string"):
        contract.prepare(days, tmp_path / "out")
    write(days, 12, [("d", "pop", 1.0)], [("u", "d"), ("v", "nowhere")])
    with pytest.raises(ContractError, match=r"first 'nowhere' in row 1 of .*span-12/plays.parquet"):
        contract.prepare(days, tmp_path / "out")


@pytest.mark.parametrize(
    "names",
    [
        ["date=2025-12-31", "date=2026-01-01", "date=2026-11-02"],
        ["span-2025-12-31", "span-2026-01-01", "span-2026-11-02"],
        ["day=20251231", "day=20260101", "day=20261102"],
        ["2025-12-31", "2026-01-01", "2026-11-02"],
        ["span-2025-12-31", "date=2026-01-01", "2026-11-02"],
        ["span-9", "span-10", "span-0011"],
    ],
)
def test_days_are_ordered_by_date_or_number(names: list[str], tmp_path: Path) -> None:
    for name in reversed(names):
        write(tmp_path / "days", name, [("a", name, 1.0), (f"only {name}", "x", 1.0)], [(f"of {name}", "a")])
    assert [span.folder.name for span in find_spans(tmp_path / "days")] == names
    contract.prepare(tmp_path / "days", tmp_path / "out", window=2)
    assert songs_of(tmp_path / "out")[0] == ("a", names[-1], 1.0)
    assert plays_of(tmp_path / "out") == [(f"of {name}", "a") for name in names[1:]]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["span-1", "date=2026-11-01"],
            "spans that are all numbered or all dated. Received: date=2026-11-01 and span-1",
        ),
        (["span-1", "span-01"], "one folder for each day. Received: span-01 and span-1"),
        (["date=2026-11-01", "span-2026-11-01"], "one folder for each day. Received: date=2026-11-01 and"),
        (
            ["date=2026-02-30"],
            "named span-<number>, span-2026-11-01 or date=2026-11-01. Received: date=2026-02-30, which",
        ),
        (["span-1", "span-two"], "folders of days named span-<number>, .* Received: span-two"),
        (["span-two"], "folders of days named span-<number>, .* Received: span-two"),
        (
            ["monday", "tuesday"],
            "or a folder for each day, named .* Received: neither, but the folders monday, tuesday",
        ),
    ],
)
def test_names_that_give_no_order_are_refused(names: list[str], words: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / "days", name, [("a", "pop", 1.0)], [("u", "a")])
    with pytest.raises(ContractError, match=words):
        contract.check(tmp_path / "days")


def test_a_span_may_be_a_folder_of_parts(days: Path, tmp_path: Path) -> None:
    for name in ("songs", "plays"):
        file = days / "span-10" / f"{name}.parquet"
        whole = pq.read_table(file)
        file.unlink()
        file.mkdir()
        for row in range(len(whole)):
            pq.write_table(whole.slice(row, 1), file / f"part-{row}.parquet")
    contract.prepare(days, tmp_path / "out")
    assert songs_of(tmp_path / "out") == [("a", "rock", 93.0), ("b", "pop", 91.0), ("c", "jazz", 92.0)]


def test_bad_spans_are_named(days: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"`window` must be at least 1. Received: 0"):
        contract.prepare(days, out, window=0)
    with pytest.raises(ContractError, match=r"expected folders of days named span-<number>.* Received: none up to 3"):
        contract.prepare(days, out, until=3)
    with pytest.raises(ContractError, match="no such folder"):
        contract.prepare(tmp_path / "nowhere", out)
    (days / "songs.parquet").write_bytes((days / "span-11" / "songs.parquet").read_bytes())
    with pytest.raises(ContractError, match=r"expected either spans or .* Received: \['songs.parquet'\]"):
        contract.prepare(days, out)
    (days / "songs.parquet").unlink()
    (days / "span-11" / "plays.parquet").rename(days / "span-11" / "plays.csv")
    with pytest.raises(ContractError, match=r"span-11/plays.parquet: expected a Parquet file. Received: none"):
        contract.prepare(days, out)
    (days / "span-11" / "plays.csv").rename(days / "span-11" / "plays.parquet")
    write(days, 13, [("e", "pop", 1.0)], [("u", "e")])
    pq.write_table(pa.table({"song": ["e"]}), days / "span-13" / "songs.parquet")
    with pytest.raises(ContractError, match=r"span-13/songs.parquet: expected a column `song_id`. .* columns song"):
        contract.prepare(days, out)
    (days / "span-13" / "songs.parquet").write_text("song_id\ne\n")
    with pytest.raises(ContractError, match=r"span-13/songs.parquet: expected a Parquet file"):
        contract.prepare(days, out)
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
        catalogue = contract.prepare(days, tmp_path / "input", window=3, until=day)
        assert catalogue.num_songs == 12 * (day + 1)
        plays = pq.read_table(tmp_path / "input" / contract.PLAYS)
        heard = plays.group_by("song_id").aggregate([("user_id", "count_distinct")]).to_pydict()
        counts = dict(zip(heard["song_id"], heard["user_id_count_distinct"], strict=True))
        ids = pq.read_table(tmp_path / "input" / contract.SONGS)["song_id"].to_pylist()
        warm_on[day] = {song for song in ids if split.assign(song.encode(), counts.get(song, 0)) == WARM}
        new = {song for song in ids if split.assign(song.encode(), counts.get(song, 0)) == NEW}
        assert new == {song for song in ids if counts.get(song, 0) < 3}
    first: dict[str, int] = {}
    for span in find_spans(days):
        for song in pq.read_table(span.folder / "plays.parquet")["song_id"].to_pylist():
            first.setdefault(song, span.number)
    assert all(first[song] <= day for day, songs in warm_on.items() for song in songs)
    later = [song for song in warm_on[9] if song.startswith("s7-")]
    assert later and not warm_on[6] & set(later)  # not there yet
    assert not any(song.startswith("s1-") for song in warm_on[9])  # its plays have left the window
