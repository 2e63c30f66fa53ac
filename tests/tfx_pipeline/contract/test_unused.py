"""Notes on columns that no model sees, and on lists written as text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tfx_pipeline.contract import ContractError, check, fields_of, prepare
from tfx_pipeline.contract.column_notes.written_lists import WrittenLists

SONGS = 40
ROWS = range(SONGS)
RNG = np.random.default_rng(0)
GENRES = ["rock", "pop", "jazz"]
WORDS = ["rock", "pop", "live", "loud", "slow", "日本語", "été"]
TAGS = [sorted(RNG.choice(WORDS, RNG.integers(1, 4), replace=False).tolist()) for _ in ROWS]
VECTORS = RNG.normal(size=(SONGS, 3)).astype(np.float32).tolist()
#: A catalogue with two fields, as a base.
BASE = {
    "song_id": [f"s{i}" for i in ROWS],
    "title": [f"Song {i}" for i in ROWS],
    "attribute_label": ["a" if i % 2 else "b" for i in ROWS],
    "audio_key": [float(i % 12) for i in ROWS],
}
GENRE = [GENRES[i % 3] for i in ROWS]


def write(folder: Path, kind: str = "parquet", **columns: object) -> Path:
    """Writes the base and more columns as Parquet, as CSV, or as two days."""
    songs, plays = pa.table({**BASE, **columns}), pa.table({"user_id": ["u"], "song_id": ["s0"]})
    if kind == "days":
        for day, rows in (("span-1", songs.slice(0, 25)), ("span-2", songs.slice(20))):
            (folder / day).mkdir(parents=True)
            pq.write_table(rows, folder / day / "songs.parquet")
            pq.write_table(plays, folder / day / "plays.parquet")
        return folder
    folder.mkdir(exist_ok=True)
    if kind == "csv":
        pa.csv.write_csv(songs, folder / "songs.csv")
    else:
        pq.write_table(songs, folder / "songs.parquet")
    pq.write_table(plays, folder / "plays.parquet")
    return folder


def notes(folder: Path) -> list[str]:
    return [note for note in check(folder).notes if "guessed from CSV" not in note]


@pytest.mark.parametrize("kind", ["parquet", "csv", "days"])
def test_what_is_not_used_and_how_to_use_it(tmp_path: Path, kind: str) -> None:
    columns = {"genre": GENRE, "tempo": [100 + i % 50 for i in ROWS], "year": [1990 + i % 9 for i in ROWS]}
    (note,) = notes(write(tmp_path / "in", kind, **columns))
    assert note == (
        "Not used: genre, tempo, year, carried for display only. To learn from them, rename (or map by the setting "
        "`columns`): genre to attribute_genre, tempo to audio_tempo, year to attribute_year."
    )
    renamed = {"attribute_genre": GENRE, "audio_tempo": columns["tempo"], "attribute_year": columns["year"]}
    after = check(write(tmp_path / "renamed", kind, **renamed))
    assert not any("Not used" in note for note in after.notes) and len(after.fields) == 5


@pytest.mark.parametrize("kind", ["parquet", "days"])
def test_columns_of_every_type_are_named_as_their_kind(tmp_path: Path, kind: str) -> None:
    columns = {
        "tags": pa.array(TAGS, pa.list_(pa.string())),
        "mood": pa.array(GENRE).dictionary_encode(),
        "Timbre": pa.array(VECTORS, pa.list_(pa.float32(), 3)),
        "lyrics embedding": pa.array(VECTORS, pa.list_(pa.float64())),
        "Audio-Energy": pa.array([i / 50 for i in ROWS], pa.float64()),
        "言語": pa.array(GENRE, pa.large_string()),
        "%": pa.array(GENRE),
    }
    (note,) = notes(write(tmp_path / "in", kind, **columns))
    suggested = dict(
        part.split(" to ")
        for part in note.split("rename (or map by the setting `columns`): ")[1].rstrip(".").split(", ")
    )
    assert suggested == {
        "tags": "attribute_tags",
        "mood": "attribute_mood",
        "Timbre": "audio_Timbre",
        "lyrics embedding": "lyric_lyrics_embedding",
        "Audio-Energy": "audio_Energy",
        "言語": "attribute_column_7",
        "%": "attribute_column_8",
    }
    for old, new in suggested.items():  # each is a name that the contract takes
        (field,) = fields_of(pa.schema([(new, pa.table({old: columns[old]}).schema.field(old).type)]))
        assert field.name == new


@pytest.mark.parametrize("kind", ["parquet", "csv", "days"])
def test_what_cannot_or_should_not_be_a_field_is_not_named(tmp_path: Path, kind: str) -> None:
    columns: dict[str, object] = {
        "song_title": ["Intro" for _ in ROWS],  # by its name
        "url": [f"https://example.org/{i}" for i in ROWS],  # tells songs apart
        "play_count": list(ROWS),
        "popularity": [i / 9 for i in ROWS],
        "Unnamed: 0": list(ROWS),
        "album_id": list(ROWS),
        "label": ["a" if i % 2 else "b" for i in ROWS],  # attribute_label is there
        "released": pa.array(list(ROWS), pa.timestamp("s")),
        "nothing": pa.array([None] * SONGS, pa.string()),
    }
    if kind != "csv":
        columns |= {
            "explicit": pa.array([i % 2 == 0 for i in ROWS]),
            "facts": pa.array([{"a": 1}] * SONGS),
            "numbers": pa.array([[i] for i in ROWS], pa.list_(pa.int64())),
            "raw": pa.array([b"\xff"] * SONGS, pa.binary()),
            "null": pa.nulls(SONGS),
        }
    assert notes(write(tmp_path / "in", kind, **columns)) == []


def test_an_artist_is_recommended_unless_every_song_has_its_own(tmp_path: Path) -> None:
    for number, name in enumerate(("artist", "Artist Name", "artistName", "performer")):
        message = notes(write(tmp_path / str(number), "parquet", **{name: [f"artist {i % 15}" for i in ROWS]}))
        assert len(message) == 2 and message[1].startswith(f"{name}: songs of one artist often share listeners.")
    assert notes(write(tmp_path / "own", artist=[f"artist {i}" for i in ROWS])) == []
    assert notes(write(tmp_path / "used", attribute_artist=[f"artist {i % 15}" for i in ROWS])) == []


@pytest.mark.parametrize("name", ["tags", "attribute_tags"])
@pytest.mark.parametrize("kind", ["parquet", "csv", "days"])
def test_lists_written_as_text_are_noticed(tmp_path: Path, kind: str, name: str) -> None:
    message = notes(write(tmp_path / "in", kind, **{name: [",".join(tags) for tags in TAGS]}))
    field = "attribute_tags"
    assert len(message) == (2 if name == "tags" else 1)
    assert message[-1].startswith(f"{field}: ") and "of the values hold commas, such as '" in message[-1]
    assert f'list<string> in Parquet (in pandas: songs["{field}"].str.split(",")), as rock|pop in CSV' in message[-1]


def test_the_remedy_for_lists_helps(tmp_path: Path) -> None:
    for kind, column in (("parquet", TAGS), ("csv", ["|".join(tags) for tags in TAGS])):
        catalogue = check(write(tmp_path / kind, kind, attribute_tags=column))
        assert {field.name: field.kind for field in catalogue.fields}["attribute_tags"] == "multi_category"
        assert not any("hold" in note and "commas" in note for note in catalogue.notes)


@pytest.mark.parametrize("written", [str, "|".join])
def test_a_list_that_csv_reads_as_one_needs_no_remedy(tmp_path: Path, written: Callable[[list[str]], str]) -> None:
    pairs = combinations([f"tag {i}" for i in range(12)], 2)
    column = [written(list(pair)) for pair in islice(pairs, SONGS)]  # each is another one, as titles are
    (note,) = notes(write(tmp_path / "in", "csv", tags=column))
    assert note.endswith(" To learn from it, rename (or map by the setting `columns`): tags to attribute_tags.")
    fields = check(write(tmp_path / "renamed", "csv", attribute_tags=column)).fields
    assert {field.name: field.kind for field in fields}["attribute_tags"] == "multi_category"


def note_of(values: list[str | None], batch: int = 7) -> str | None:
    lists = WrittenLists()
    for start in range(0, len(values), batch):
        lists.add(pa.array(values[start : start + batch], pa.string()))
    return lists.note("x")


CITIES = [f"{city}, {'France' if city % 3 else 'Italy'}" for city in range(60)]
JOINED = [",".join(tags) for tags in TAGS]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (JOINED, "hold commas"),
        ([";".join(tags) for tags in TAGS], "hold semicolons"),
        (["|".join(tags) for tags in TAGS], "hold bars"),
        ([", ".join(tags) for tags in TAGS] + [None] * 100, "hold commas"),
        ([str(tags) for tags in TAGS], "each list written as text"),
        (JOINED * 50, "hold commas"),
        (GENRE, None),
        (CITIES, None),  # a name and a country, not a list
        ([f"{i % 7},{i % 10}" for i in range(200)], None),  # decimal commas
        ([f"Smith, {i}" for i in range(50)], None),
        (JOINED[:9], None),  # too few to say
        (["rock"] * 200 + JOINED[:20], None),  # too rare
        ([None] * 30, None),
        ([], None),
    ],
)
def test_what_is_a_list(values: list[str | None], message: str | None) -> None:
    found = note_of(values)
    assert (found is None) == (message is None) and (message is None or message in str(found))


def test_a_catalogue_without_fields_is_told_the_names(tmp_path: Path) -> None:
    """The first thing that happens to a data frame as it is."""
    columns = {
        "genre": GENRE,
        "tempo": [100.0 + i for i in ROWS],
        "attribute_label": GENRE,
        "audio_key": [None] * SONGS,
    }
    write(tmp_path / "in", "parquet", **columns)
    for run in (lambda: check(tmp_path / "in"), lambda: prepare(tmp_path / "in", tmp_path / "out")):
        with pytest.raises(ContractError) as caught:
            run()
        message = str(caught.value)
        assert "expected at least 2 fields" in message and "\n" not in message
        assert "To learn from them, rename" in message
        assert message.endswith("`columns`): genre to attribute_genre, tempo to audio_tempo.")
    assert not (tmp_path / "out").exists()


def test_many_columns_and_hostile_names_stay_on_one_line(tmp_path: Path) -> None:
    columns = {f"x{i}\n\u202e": GENRE for i in range(30)}
    (note,) = notes(write(tmp_path / "in", "parquet", **columns))
    assert "\n" not in note and "\u202e" not in note and "and 18 more" in note
