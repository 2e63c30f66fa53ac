"""The tables that a run publishes, column by column. Whoever reads them relies on this page.

A column that is added leaves readers working and keeps the version. A column that is renamed or removed, has another
type or another meaning, raises `SCHEMA_VERSION`.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PAGE = "run.html"

_TEXT, _NUMBER, _WHOLE, _COUNT = pa.string(), pa.float32(), pa.int32(), pa.int64()
RELIABILITY = "reliability"


@dataclass(frozen=True)
class Column:
    """A column of a published table, and what it says."""

    name: str
    type: pa.DataType
    says: str


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: Of its file, without the ending.
        says: What a row is.
        columns: In their order.
        titles: Which column of titles belongs to which column of song ids.
    """

    name: str
    says: str
    columns: tuple[Column, ...]
    titles: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        return f"{self.name}.parquet"

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(column.name, column.type) for column in self.columns])


_SONG = (
    Column("song_id", _TEXT, "the song, as in songs.parquet"),
    Column("title", _TEXT, "its `title`, else its `name`, else its `artist`; null where it has none of them"),
    Column("split", _TEXT, "`new`, or `val` or `test` for a song that evaluation held out"),
)

TARGETS = Table(
    "targets",
    "A listener for a song. The only table with user ids.",
    (
        *_SONG,
        Column("rank", _WHOLE, "of the listener for this song, from 1"),
        Column("user_id", _TEXT, "the listener, as in plays.parquet"),
        Column("score", _NUMBER, "how well the listener fits; comparable within one song; manifest.json has its range"),
        Column("rule", _TEXT, "the rule that gave the score"),
        Column("group", _TEXT, "`target`, or `held_aside` for the random share that is not addressed"),
        Column("reason_song_ids", pa.list_(_TEXT), "matches of the song that the listener plays, best first"),
        Column("reason_scores", pa.list_(_NUMBER), "the scores of these matches, from -1 to 1"),
        Column("cluster", _WHOLE, "the group of listeners that is closest to the song; -1 where none was formed"),
        Column(
            "part_vector",
            _NUMBER,
            "the part of the score that is a cosine of the listener's vector",
        ),
        Column("part_count", _NUMBER, "the matches that the listener plays, each counted by its score; 0 or more"),
    ),
    (("title", "song_id"),),
)

MATCHES = Table(
    "matches",
    "A song that is new or held out, with the songs that are most similar to it.",
    (
        *_SONG,
        Column(
            "match_ids",
            pa.list_(_TEXT),
            "the similar songs, best first; none where the model knows no value of the song",
        ),
        Column("match_titles", pa.list_(_TEXT), "their titles"),
        Column(
            "match_scores",
            pa.list_(_NUMBER),
            "their scores, from -1 to 1",
        ),
        Column("match_shares", pa.list_(pa.list_(_NUMBER)), "of each score, what each part of the song gives to it"),
        Column("share_names", pa.list_(_TEXT), "the parts: blocks of fields, and `rest`; in every row the same"),
        Column(RELIABILITY, _NUMBER, "recall to expect of the matches, 0 to 1; null where it could not be fitted"),
    ),
    (("title", "song_id"), ("match_titles", "match_ids")),
)

EMBEDDINGS = Table(
    "embeddings",
    "A song of the catalogue.",
    (
        Column("song_id", _TEXT, "the song, as in songs.parquet"),
        Column("split", _TEXT, "`warm`, `new`, `val` or `test`"),
        Column("embedding", pa.list_(_NUMBER), "of its content: what a song is matched by"),
        Column("candidate_embedding", pa.list_(_NUMBER), "as in the index: what it is found by"),
    ),
)

SONGS_SUMMARY = Table(
    "songs_summary",
    "A song that was to get listeners, and what became of it.",
    (
        *_SONG,
        Column("status", _TEXT, "`targeted`, or why not"),
        Column("targets", _WHOLE, "listeners in group `target`"),
        Column("held_aside", _WHOLE, "listeners in group `held_aside`"),
        Column("matches_given", _WHOLE, "matches that the song came with"),
        Column("matches_bad", _WHOLE, "of these, that could not be used"),
        Column("matches_kept", _WHOLE, "of these, taken into account"),
        Column("matches_used", _WHOLE, "of these, played by somebody"),
        Column("audience", _COUNT, "listeners of these matches"),
        Column("sampled", pa.bool_(), "whether a sample of them was scored, as there were too many"),
        Column("scored", _WHOLE, "listeners scored"),
        Column("excluded", _WHOLE, "listeners who must not get this song, or play it already"),
        Column("without_vector", _WHOLE, "listeners without a vector"),
        Column("clusters", _WHOLE, "groups of listeners formed"),
    ),
    (("title", "song_id"),),
)

TABLES = (TARGETS, MATCHES, EMBEDDINGS, SONGS_SUMMARY)
