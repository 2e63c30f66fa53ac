"""From the input tables of targeting to its blocks, with every check of the input on the way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tfx_pipeline.columnar.arrow import checked_column, coded_ids, encode_ids, ids_of, list_lengths, vectors_of
from tfx_pipeline.columnar.rows import Array
from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID, USER_ID, Ids, among, id_array, no_ids
from tfx_pipeline.contract.play_columns import bad_count, count_plays
from tfx_pipeline.contract.splits import SPLITS
from tfx_pipeline.targeting.beam.blocks import Catalogue, Listeners, Matches, Pairs, Plays

#: The tables that targeting reads, by the part they play in it.
CATALOGUE, PLAYS = schemas.EMBEDDINGS, schemas.PLAYS
LISTENERS, EXCLUSIONS = schemas.LISTENERS, schemas.EXCLUSIONS
MATCHES = schemas.part_of(schemas.MATCHES, [SONG_ID, "match_ids", "match_scores"])


def pack_plays(table: pa.Table) -> Plays:
    """Returns plays as a block.

    Args:
        table: As `PLAYS`; a missing column `plays` or a null in it means 1.

    Raises:
        ValueError: If an id is missing, or a number of plays is invalid.
    """
    users, songs = coded_ids(table, "plays", USER_ID), coded_ids(table, "plays", SONG_ID)
    plays = np.ones(table.num_rows, dtype=np.int64)
    if "plays" in table.column_names:
        counts = checked_column(table, "plays", "plays", "whole numbers")
        if (found := bad_count(counts)) is not None:
            row, expected = found
            user, song = users.ids[users.codes[row]].decode(), songs.ids[songs.codes[row]].decode()
            raise ValueError(
                f"`plays` must be {expected}. Received: {counts[row].as_py()} for user {user!r}, song {song!r}"
            )
        plays = np.asarray(count_plays(counts))
    return Plays(users, songs, plays)


def pack_catalogue(table: pa.Table) -> Catalogue:
    """Returns songs as a block.

    Args:
        table: As `CATALOGUE`.

    Raises:
        ValueError: If an id, a split or a vector is missing or invalid.
    """
    ids, split = ids_of(table, "catalogue", SONG_ID), ids_of(table, "catalogue", "split")
    unknown = ~among(split, id_array(SPLITS))
    if unknown.any():
        row = int(np.argmax(unknown))
        received = f"{split[row].decode()!r} for song {ids[row].decode()!r}"
        raise ValueError(f"`split` must be one of {list(SPLITS)}. Received: {received}")
    embedding, candidate = (vectors_of(table, "catalogue", name, ids) for name in ("embedding", "candidate_embedding"))
    if embedding.shape != candidate.shape:
        received = f"{embedding.shape[1]} and {candidate.shape[1]}"
        raise ValueError(f"`embedding` and `candidate_embedding` must have one length. Received: {received}")
    return Catalogue(ids, split, embedding, candidate)


def pack_listeners(table: pa.Table) -> Listeners:
    """Returns given listeners as a block, with one vector each.

    Args:
        table: As `LISTENERS`.

    Raises:
        ValueError: If an id or a vector is missing or invalid.
    """
    users = ids_of(table, "listeners", USER_ID)
    return Listeners.not_excluded(users, vectors_of(table, "listeners", "embedding", users)[:, None])


def pack_exclusions(table: pa.Table) -> Pairs:
    """Returns exclusions as a block.

    Args:
        table: As `EXCLUSIONS`; a null `song_id`, coded as b"", means every song.

    Raises:
        ValueError: If an id is missing or invalid.
    """
    users = ids_of(table, "exclusions", USER_ID)
    if SONG_ID not in table.column_names:
        return Pairs(users, no_ids(len(users)))
    column = checked_column(table, "exclusions", SONG_ID).cast(pa.string())
    everywhere = column.is_null().to_numpy(zero_copy_only=False)
    # The empty string is refused: it may be meant for one song, and would close all of them to the listener.
    named = encode_ids(column.drop_null(), "song_id` of `exclusions")
    songs = np.full(len(users), b"", named.dtype)
    songs[~everywhere] = named
    return Pairs(users, songs)


def pack_matches(table: pa.Table, most: int) -> Matches:
    """Returns the best matches of each song, by score, then id.

    Matches with a non-finite score, repeats of a match and the song itself are dropped and counted.

    Args:
        table: As `MATCHES`.
        most: Matches to keep for each song.

    Raises:
        ValueError: If an id is missing, or ids and scores differ in number.
    """
    songs = ids_of(table, "matches", SONG_ID)
    lists = checked_column(table, "matches", "match_ids", "lists of strings")
    scores = checked_column(table, "matches", "match_scores", "lists of numbers")
    given, scored = list_lengths(lists), list_lengths(scores)
    differ = given != scored
    if differ.any():
        row = int(np.argmax(differ))
        received = f"{given[row]} and {scored[row]} for song {songs[row].decode()!r}"
        raise ValueError(f"`match_ids` and `match_scores` must have one length. Received: {received}")
    match = encode_ids(lists.flatten().cast(pa.string()), "match_ids` of `matches")
    score = np.asarray(scores.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    owner = np.repeat(np.arange(len(songs)), given)
    good, kept = _best(songs, owner, match, score, most)
    bad = given - np.bincount(owner[good], minlength=len(songs))
    size = np.bincount(owner[kept], minlength=len(songs))
    return Matches(songs, given, bad, size, match[kept], score[kept])


def _best(songs: Ids, row: Array, match: Ids, score: Array, most: int) -> tuple[Array, Array]:
    """Returns the usable matches and the `most` best of each row, both as indices ordered by row, score, id."""
    _, code = np.unique(match, return_inverse=True)
    order = np.lexsort((code, -score, row))
    order = order[np.isfinite(score[order]) & (match[order] != songs[row[order]])]
    pairs = row[order] * (int(code.max(initial=0)) + 1) + code[order]
    good = order[np.sort(np.unique(pairs, return_index=True)[1])]
    starts = np.searchsorted(row[good], row[good])
    return good, good[np.arange(len(good)) - starts < most]
