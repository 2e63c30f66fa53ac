"""The tables that a run publishes, column by column. Readers outside this project rely on them.

A new column leaves readers working and keeps the version. A column that is renamed or removed, or gets another type or
meaning, raises `SCHEMA_VERSION`. Types come from `contract.schemas`, which has the tables between stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID, USER_ID

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
PAGE = "run.html"

RELIABILITY = "reliability"


@dataclass(frozen=True)
class Column:
    """A column of a published table, and what its values mean."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: Name of its file, without the ending.
        meaning: What a row is.
        columns: The columns, in their order.
        titles: Pairs of a column of titles and the column of song ids that it belongs to.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...]
    titles: tuple[tuple[str, str], ...] = ()

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{self.name}.parquet"

    @property
    def schema(self) -> pa.Schema:
        """Its columns and their types."""
        return pa.schema([(column.name, column.type) for column in self.columns])


#: Columns that publishing adds to those of the stages.
_ADDED = {"title": pa.string(), "match_titles": pa.list_(pa.string()), RELIABILITY: pa.float32()}
_SONG = {
    SONG_ID: "the song, as in songs.parquet",
    "title": "its `title`, else its `name`, else its `artist`; null where it has none of them",
    "split": "`new`, or `val` or `test` for a song that evaluation held out",
}


def _table(
    name: str, meaning: str, stage: pa.Schema, columns: dict[str, str], titles: tuple[tuple[str, str], ...] = ()
) -> Table:
    """Returns a table whose columns have the types of the stage that writes them."""
    types = {**_ADDED, **dict(zip(stage.names, stage.types, strict=True))}
    return Table(name, meaning, tuple(Column(column, types[column], text) for column, text in columns.items()), titles)


TARGETS = _table(
    "targets",
    "A listener for a song. The only table with user ids.",
    schemas.TARGETS,
    {
        **_SONG,
        "rank": "of the listener for this song, from 1",
        USER_ID: "the listener, as in plays.parquet",
        "score": "how well the listener fits; comparable within one song; manifest.json has its range",
        "rule": "the rule that gave the score",
        "group": "`target`, or `held_aside` for the random share that is not addressed",
        "reason_song_ids": "matches of the song that the listener plays, best first",
        "reason_scores": "the scores of these matches, from -1 to 1",
        "cluster": "the group of listeners that is closest to the song; -1 where none was formed",
        "part_vector": "the part of the score that is a cosine of the listener's vector",
        "part_count": "the matches that the listener plays, each counted by its score; 0 or more",
    },
    (("title", SONG_ID),),
)

MATCHES = _table(
    "matches",
    "A song that is new or held out, with the songs that are most similar to it.",
    schemas.MATCHES,
    {
        **_SONG,
        "match_ids": "the similar songs, best first; none for a song without known values",
        "match_titles": "their titles",
        "match_scores": "their scores, from -1 to 1",
        "match_shares": "of each score, what each part of the song gives to it",
        "share_names": "the parts: blocks of fields, and `rest`; in every row the same",
        RELIABILITY: "recall to expect of the matches, 0 to 1; null where it could not be fitted",
        "match_chances": "how likely each match is among the 20 songs of most similar audience; null if not fitted",
        "match_chances_low": "lower bounds of their 95 % intervals",
        "match_chances_high": "upper bounds",
    },
    (("title", SONG_ID), ("match_titles", "match_ids")),
)

EMBEDDINGS = _table(
    "embeddings",
    "A song of the catalogue.",
    schemas.EMBEDDINGS,
    {
        SONG_ID: "the song, as in songs.parquet",
        "split": "`warm`, `new`, `val` or `test`",
        "embedding": "of its content: what a song is matched by",
        "candidate_embedding": "as in the index: what it is found by",
    },
)

SONGS_SUMMARY = _table(
    "songs_summary",
    "A song that was to get listeners, and what became of it.",
    schemas.SUMMARY,
    {
        **_SONG,
        "status": "`targeted`, or why not",
        "targets": "listeners in group `target`",
        "held_aside": "listeners in group `held_aside`",
        "matches_given": "matches that the song came with",
        "matches_bad": "of these, that could not be used",
        "matches_kept": "of these, taken into account",
        "matches_used": "of these, played by somebody",
        "audience": "listeners of these matches",
        "sampled": "whether a sample of them was scored, as there were too many",
        "scored": "listeners scored",
        "excluded": "listeners who must not get this song, or play it already",
        "without_vector": "listeners without a vector",
        "clusters": "groups of listeners formed",
    },
    (("title", SONG_ID),),
)

TABLES = (TARGETS, MATCHES, EMBEDDINGS, SONGS_SUMMARY)
