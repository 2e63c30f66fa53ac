"""The columns of every table that one stage of the pipeline writes and another reads.

`outputs.schemas` has the tables that a run publishes. Their columns are these, with titles and a description added.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pyarrow as pa

from tfx_pipeline.contract.fields import SongField
from tfx_pipeline.contract.ids import SONG_ID, USER_ID

_TEXT, _NUMBER, _WHOLE, _COUNT = pa.string(), pa.float32(), pa.int32(), pa.int64()
_TEXTS, _NUMBERS = pa.list_(_TEXT), pa.list_(_NUMBER)
_SONG = [(SONG_ID, _TEXT), ("split", _TEXT)]

#: A play of a song by a listener.
PLAYS = pa.schema([(USER_ID, _TEXT), (SONG_ID, _TEXT), ("plays", _COUNT)])
#: What plays may also say: 0 or 1, and seconds since 1970.
OPTIONAL_OF_PLAYS = pa.schema([("liked", _COUNT), ("timestamp", _COUNT)])
#: A song of the catalogue: what it is matched by, and what it is found by.
EMBEDDINGS = pa.schema([*_SONG, ("embedding", _NUMBERS), ("candidate_embedding", _NUMBERS)])
#: A song that is new or held out, with its most similar songs. Columns after the scores are null for older models.
MATCHES = pa.schema(
    [
        *_SONG,
        ("match_ids", _TEXTS),
        ("match_scores", _NUMBERS),
        ("match_shares", pa.list_(_NUMBERS)),
        ("share_names", _TEXTS),
        ("known_fields", _WHOLE),
        ("evidence", _NUMBERS),
        ("evidence_names", _TEXTS),
        ("match_chances", _NUMBERS),
        ("match_chances_low", _NUMBERS),
        ("match_chances_high", _NUMBERS),
    ]
)
#: A listener with a vector.
LISTENERS = pa.schema([(USER_ID, _TEXT), ("embedding", _NUMBERS)])
#: A listener who must not get a song. Without a song it holds for every song.
EXCLUSIONS = pa.schema([(USER_ID, _TEXT), (SONG_ID, _TEXT)])
#: A listener for a song: `group` is "target" or "held_aside". The reason is the matches that the listener plays, the
#: closest cluster (-1: none) and the parts of the score.
TARGETS = pa.schema(
    [
        *_SONG,
        ("rank", _WHOLE),
        (USER_ID, _TEXT),
        ("score", _NUMBER),
        ("rule", _TEXT),
        ("group", _TEXT),
        ("reason_song_ids", _TEXTS),
        ("reason_scores", _NUMBERS),
        ("cluster", _WHOLE),
        ("part_vector", _NUMBER),
        ("part_count", _NUMBER),
    ]
)
#: A song that was to get listeners, and what became of it.
SUMMARY = pa.schema(
    [
        *_SONG,
        ("status", _TEXT),
        ("targets", _WHOLE),
        ("held_aside", _WHOLE),
        ("matches_given", _WHOLE),
        ("matches_bad", _WHOLE),
        ("matches_kept", _WHOLE),
        ("matches_used", _WHOLE),
        ("audience", _COUNT),
        ("sampled", pa.bool_()),
        ("scored", _WHOLE),
        ("excluded", _WHOLE),
        ("without_vector", _WHOLE),
        ("clusters", _WHOLE),
    ]
)


def songs_schema(fields: Sequence[SongField], display: Sequence[str]) -> pa.Schema:
    """Returns the columns of the prepared songs.parquet: the id, the fields, the display columns as strings."""
    columns = [(SONG_ID, _TEXT), *((field.name, field.arrow.type) for field in fields)]
    return pa.schema([*columns, *((name, _TEXT) for name in display)])


def plays_schema(columns: Collection[str]) -> pa.Schema:
    """Returns the columns of the prepared plays.parquet.

    Args:
        columns: The columns that the input has. Optional ones that it lacks are left out.
    """
    return pa.schema([*PLAYS, *(field for field in OPTIONAL_OF_PLAYS if field.name in columns)])


def part_of(schema: pa.Schema, names: Sequence[str]) -> pa.Schema:
    """Returns some columns of a table, in the given order."""
    return pa.schema([schema.field(name) for name in names])


#: Columns of chances by the output of the model.
CHANCES = {"match_chances": "chance", "match_chances_low": "chance_low", "match_chances_high": "chance_high"}
