"""From rows or Arrow tables to columnar blocks, with every check of the input on the way."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import GlobalWindows

from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID, Ids, among, id_array, no_ids
from tfx_pipeline.contract.play_columns import bad_count, count_plays, is_count
from tfx_pipeline.contract.splits import SPLITS
from tfx_pipeline.targeting.beam.blocks import Array, Block, encode_ids

#: The tables that the targeting reads, by the part they play in it.
CATALOGUE, PLAYS = schemas.EMBEDDINGS, schemas.PLAYS
LISTENERS, EXCLUSIONS = schemas.LISTENERS, schemas.EXCLUSIONS
MATCHES = schemas.part_of(schemas.MATCHES, [SONG_ID, "match_ids", "match_scores"])

_ROWS_PER_TABLE = 20_000
_VECTORS = "lists of numbers"


class ToTables(beam.PTransform):
    """Gathers rows (dicts) into Arrow tables; tables among the elements pass as they are."""

    def __init__(self, schema: pa.Schema):
        super().__init__()
        self._schema = schema

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Gather" >> beam.ParDo(_Gather(self._schema)).with_output_types(pa.Table)


class _Gather(beam.DoFn):
    def __init__(self, schema: pa.Schema):
        self._schema = schema

    def start_bundle(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def process(self, element: Any) -> Iterator[pa.Table]:
        if isinstance(element, pa.Table):
            if element.num_rows:
                yield element
            return
        self._rows.append(element)
        if len(self._rows) >= _ROWS_PER_TABLE:
            yield self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        if self._rows:
            yield GlobalWindows.windowed_value(self._flush())

    def _flush(self) -> pa.Table:
        rows, self._rows = self._rows, []
        names = [name for name in self._schema.names if any(name in row for row in rows)]
        schema = pa.schema([self._schema.field(name) for name in names])
        return pa.Table.from_pylist(rows, schema=schema)


def pack_plays(table: pa.Table) -> Block:
    """Plays table -> plays block; a missing `plays` column or null means 1."""
    rows = table.num_rows
    users, user = _dictionary(table, "plays", "user_id")
    songs, song = _dictionary(table, "plays", "song_id")
    plays = np.ones(rows, dtype=np.int64)
    if "plays" in table.column_names:
        counts = _column(table, "plays", "plays", "whole numbers")
        if (found := bad_count(counts)) is not None:
            row, expected = found
            where = f"user {users[user[row]].decode()!r}, song {songs[song[row]].decode()!r}"
            raise ValueError(f"`plays` must be {expected}. Received: {counts[row].as_py()} for {where}")
        plays = np.asarray(count_plays(counts))
    return {"users": users, "user": user, "songs": songs, "song": song, "plays": plays}


def pack_catalogue(table: pa.Table) -> Block:
    """Catalogue table -> {ids (n,), split (n,), embedding (n, d), candidate (n, d)}."""
    ids = _ids(table, "catalogue", "song_id")
    split = _ids(table, "catalogue", "split")
    unknown = ~among(split, id_array(SPLITS))
    if unknown.any():
        row = int(np.argmax(unknown))
        received = f"{split[row].decode()!r} for song {ids[row].decode()!r}"
        raise ValueError(f"`split` must be one of {list(SPLITS)}. Received: {received}")
    embedding = _vectors(_column(table, "catalogue", "embedding", _VECTORS), ids, "embedding")
    candidate = _vectors(_column(table, "catalogue", "candidate_embedding", _VECTORS), ids, "candidate_embedding")
    if embedding.shape != candidate.shape:
        received = f"{embedding.shape[1]} and {candidate.shape[1]}"
        raise ValueError(f"`embedding` and `candidate_embedding` must have one length. Received: {received}")
    return {"ids": ids, "split": split, "embedding": embedding, "candidate": candidate}


def pack_listeners(table: pa.Table) -> Block:
    """Listener table -> {users (n,), vectors (n, 1, d)}."""
    users = _ids(table, "listeners", "user_id")
    return {
        "users": users,
        "vectors": _vectors(_column(table, "listeners", "embedding", _VECTORS), users, "embedding")[:, None],
    }


def pack_exclusions(table: pa.Table) -> Block:
    """Exclusion table -> {users (n,), songs (n,)}; a null song_id, coded as b"", means every song."""
    users = _ids(table, "exclusions", "user_id")
    if "song_id" not in table.column_names:
        return {"users": users, "songs": no_ids(len(users))}
    column = _column(table, "exclusions", "song_id").cast(pa.string())
    everywhere = column.is_null().to_numpy(zero_copy_only=False)
    # The empty string is refused: it may be meant for one song, and would close all of them to the listener.
    named = encode_ids(column.drop_null(), "song_id` of `exclusions")
    songs = np.full(len(users), b"", named.dtype)
    songs[~everywhere] = named
    return {"users": users, "songs": songs}


def pack_matches(table: pa.Table, most: int) -> Block:
    """Matches table -> the `most` best matches of each song, by score, then id.

    Matches with a non-finite score, repeats of a match and the song itself are dropped and counted.

    Returns:
        {songs (n,), given (n,), bad (n,), size (n,), match (sum of sizes,), score (sum of sizes,) float64}.
    """
    songs = _ids(table, "matches", "song_id")
    lists = _column(table, "matches", "match_ids", "lists of strings")
    given = _lengths(lists)
    scores = _column(table, "matches", "match_scores", _VECTORS)
    differ = given != _lengths(scores)
    if differ.any():
        row = int(np.argmax(differ))
        received = f"{given[row]} and {_lengths(scores)[row]} for song {songs[row].decode()!r}"
        raise ValueError(f"`match_ids` and `match_scores` must have one length. Received: {received}")
    match = encode_ids(_flat(lists, pa.string()), "match_ids` of `matches")
    score = np.asarray(_flat(scores, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    owner = np.repeat(np.arange(len(songs)), given)
    good, kept = _best(songs, owner, match, score, most)
    counted = {"given": given, "bad": given - np.bincount(owner[good], minlength=len(songs))}
    size = np.bincount(owner[kept], minlength=len(songs))
    return {"songs": songs, **counted, "size": size, "match": match[kept], "score": score[kept]}


def _best(songs: Ids, row: Array, match: Ids, score: Array, most: int) -> tuple[Array, Array]:
    """(usable matches, the `most` best of each row), both as indices ordered by row, score, id."""
    _, code = np.unique(match, return_inverse=True)
    order = np.lexsort((code, -score, row))
    order = order[np.isfinite(score[order]) & (match[order] != songs[row[order]])]
    pairs = row[order] * (int(code.max(initial=0)) + 1) + code[order]
    good = order[np.sort(np.unique(pairs, return_index=True)[1])]
    starts = np.searchsorted(row[good], row[good])
    return good, good[np.arange(len(good)) - starts < most]


def _column(table: pa.Table, source: str, name: str, expected: str = "strings") -> pa.Array:
    if name not in table.column_names:
        raise ValueError(f"`{source}` must have a column `{name}`. Received: columns {table.column_names}")
    column = table[name]
    if not _fits(column.type, expected):
        raise ValueError(f"`{name}` of `{source}` must hold {expected}. Received: {column.type}")
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _fits(kind: pa.DataType, expected: str) -> bool:
    if expected == "whole numbers":
        return is_count(kind)
    if expected.startswith("lists of "):
        is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        return is_list and _fits(kind.value_type, expected.removeprefix("lists of "))
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or pa.types.is_integer(kind):  # nothing but nulls; numbers that are ids
        return True
    if expected == "numbers":
        return bool(pa.types.is_floating(kind))
    return expected == "strings" and bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _ids(table: pa.Table, source: str, name: str) -> Ids:
    return encode_ids(_column(table, source, name), f"{name}` of `{source}")


def _dictionary(table: pa.Table, source: str, name: str) -> tuple[Ids, Array]:
    column = _column(table, source, name)
    if column.null_count:
        raise ValueError(f"`{name}` of `{source}` must hold an id in every row. Received: {column.null_count} null ids")
    coded = column.cast(pa.string()).dictionary_encode()
    return encode_ids(coded.dictionary, f"{name}` of `{source}"), coded.indices.to_numpy()


def _lengths(lists: pa.Array) -> Array:
    return pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _flat(lists: pa.Array, kind: pa.DataType) -> pa.Array:
    return lists.flatten().cast(kind)


def _vectors(lists: pa.Array, ids: Ids, name: str) -> Array:
    """List column -> (n, d) float32; unequal lengths and non-finite values are errors."""
    lengths = _lengths(lists)
    if (lengths != lengths[0]).any() or lengths[0] == 0:
        row = int(np.argmax(lengths != lengths[0]))
        received = f"{lengths[row]} for {ids[row].decode()!r}, {lengths[0]} for {ids[0].decode()!r}"
        raise ValueError(f"`{name}` must have one length of at least 1. Received: {received}")
    vectors = np.asarray(_flat(lists, pa.float32()).to_numpy(zero_copy_only=False)).reshape(len(ids), -1)
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        raise ValueError(
            f"`{name}` must be finite. Received: a non-finite value for {ids[int(np.argmax(bad))].decode()!r}"
        )
    return vectors
