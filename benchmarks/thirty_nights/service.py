"""An invented music service: its songs, who plays them, and on which day."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.thirty_nights.calendar import NIGHTS, is_quiet
from serving.files.whole_files import put_file

OLD_SONGS, NEW_A_DAY, LISTENERS, GENRES = 120, 2, 90, 6
#: Listeners of a new song, from the day after it came on.
_OF_NEW, _A_DAY = 12, 2
#: Every listener's id ends with this, so that it is found wherever it stands.
MARK = "@nächtlich.example"


@dataclass(frozen=True)
class Service:
    """Songs and plays.

    Attributes:
        songs: With the day on which each came, in a column `day` of its own.
        plays: With the day of each.
    """

    songs: pa.Table
    plays: pa.Table

    @classmethod
    def invent(cls, seed: int) -> Service:
        """Draws a service: listeners like two genres, and play what they like."""
        rng = np.random.default_rng(seed)
        count = OLD_SONGS + NEW_A_DAY * NIGHTS
        genres = rng.integers(GENRES, size=count)
        days = np.maximum(0, (np.arange(count) - OLD_SONGS) // NEW_A_DAY + 1)
        likes = np.stack([rng.permutation(GENRES)[:2] for _ in range(LISTENERS)])
        users, songs, when = [], [], []
        for song, (genre, day) in enumerate(zip(genres, days, strict=True)):
            fans = np.flatnonzero((likes == genre).any(axis=1))
            played = rng.permutation(fans)[: _OF_NEW if day else rng.integers(6, 20)]
            others = rng.integers(LISTENERS, size=1)
            for place, user in enumerate(dict.fromkeys([*played, *others])):
                users.append(int(user))
                songs.append(song)
                when.append(int(day) + 1 + place // _A_DAY if day else 0)
        return cls(_songs(genres, days, rng), _plays(users, songs, when))

    def listeners(self, day: int | None = None) -> dict[str, set[str]]:
        """Returns who plays each song, until a day or ever; songs that nobody plays are not in it."""
        plays = self.plays if day is None else self.plays.filter(pa.array(self.plays["day"].to_numpy() <= day))
        found: dict[str, set[str]] = {}
        for user, song in zip(plays["user_id"].to_pylist(), plays["song_id"].to_pylist(), strict=True):
            found.setdefault(song, set()).add(user)
        return found

    def songs_until(self, day: int) -> list[str]:
        """Returns the songs that have come, in their order."""
        return self.songs.filter(pa.array(self.songs["day"].to_numpy() <= day))["song_id"].to_pylist()

    def write(self, folder: Path, day: int, *, without: str | None = None, cut_short: bool = False) -> None:
        """Writes what the service exports on a day.

        Args:
            folder: Where songs.parquet and plays.parquet come, each whole.
            day: The last one of the data.
            without: A column of songs that is not exported.
            cut_short: Whether the second half of plays.parquet is missing.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for name, everything in (("songs", self.songs), ("plays", self.plays)):
            known = everything.filter(pa.array(everything["day"].to_numpy() <= day))
            table = known.drop([column for column in ("day", without) if column in known.column_names])
            aside = folder / f".{name}.writing"
            pq.write_table(table, aside)
            if cut_short and name == "plays":
                os.truncate(aside, aside.stat().st_size // 2)
            put_file(aside, folder / f"{name}.parquet")


def _songs(genres: np.ndarray, days: np.ndarray, rng: np.random.Generator) -> pa.Table:
    centres = rng.normal(size=(GENRES, 48))
    vectors = centres[genres] + rng.normal(size=(len(genres), 48))
    return pa.table(
        {
            "song_id": [f"Lied {number:04}" for number in range(len(genres))],
            "title": [f"Nachtstück Nr. {number}" for number in range(len(genres))],
            "attribute_genre": [f"genre {genre}" for genre in genres],
            "audio_vector": pa.array(list(vectors.astype(np.float32)), pa.list_(pa.float32())),
            "audio_tempo": 80 + 10 * genres + rng.normal(scale=8, size=len(genres)),
            "day": days,
        }
    )


def _plays(users: list[int], songs: list[int], days: list[int]) -> pa.Table:
    return pa.table(
        {
            "user_id": [f"hörer-{user:03}{MARK}" for user in users],
            "song_id": [f"Lied {song:04}" for song in songs],
            "day": [day + 1 if is_quiet(day) else day for day in days],
        }
    )
