"""The tables of the result, targets and summary: their columns, the ranking, and what is set aside."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfx_pipeline.columnar.rows import Array, ranges
from tfx_pipeline.contract import schemas
from tfx_pipeline.contract.ids import SONG_ID, USER_ID, arrow_texts
from tfx_pipeline.targeting.beam.candidates import Candidates
from tfx_pipeline.targeting.beam.cold_shard import MatchLists, Shard
from tfx_pipeline.targeting.config import TargetingConfig

TARGETS, SUMMARY = schemas.TARGETS, schemas.SUMMARY


def candidates_table(shard: Shard, candidates: Candidates, config: TargetingConfig) -> pa.Table:
    """Returns the best `config.depth` of a song's audience, ranked from 1, with reasons.

    Args:
        shard: The shard of the song.
        candidates: Its scored audience.
        config: Settings.
    """
    scores = candidates.scores
    if scores is None:
        return TARGETS.empty_table()
    rounded = scores.score.astype(np.float32)
    chosen = np.flatnonzero(scores.allowed)
    # The audience is in the order of its ids, so a stable sort breaks ties by id.
    chosen = chosen[np.argsort(-rounded[chosen], kind="stable")[: config.depth]]
    reason_ids, reason_scores = _reasons(shard.matches, candidates, chosen, config.max_reasons)
    columns = {
        "rank": np.arange(1, len(chosen) + 1, dtype=np.int32),
        USER_ID: arrow_texts(shard.listeners.users[candidates.audience[chosen]]),
        "score": rounded[chosen],
        "reason_song_ids": reason_ids,
        "reason_scores": reason_scores,
        "cluster": scores.cluster[chosen],
        "part_vector": scores.vector[chosen].astype(np.float32),
        "part_count": scores.count[chosen].astype(np.float32),
    }
    return targets_table(candidates.song.decode(), candidates.split.decode(), config.rule, columns)


def targets_table(song: str, split: str, rule: str, columns: dict[str, Array | pa.Array]) -> pa.Table:
    """Returns one song's targets as a table of the schema `TARGETS`.

    Args:
        song: Id.
        split: Split of the song.
        rule: Rule of the scores.
        columns: All columns but song_id, split, rule and group.
    """
    rows = len(columns["rank"])
    same = {SONG_ID: song, "split": split, "rule": rule, "group": "target"}
    everything = {**{name: [value] * rows for name, value in same.items()}, **columns}
    arrays = [_array(everything[field.name], field.type) for field in TARGETS]
    return pa.Table.from_arrays(arrays, schema=TARGETS)


def _array(values: Array | pa.Array | list[str], kind: pa.DataType) -> pa.Array:
    return values.cast(kind) if isinstance(values, pa.Array) else pa.array(values, kind)


def summary_row(candidates: Candidates) -> dict[str, object]:
    """Returns one song's row of the summary; `finish` counts its targets.

    Args:
        candidates: The song's scored audience.
    """
    named = {SONG_ID: candidates.song.decode(), "split": candidates.split.decode()}
    return {**candidates.counts, **named, "targets": 0, "held_aside": 0}


def rank_within_songs(targets: pa.Table, most: int) -> pa.Table:
    """Returns the best `most` targets of each song, ranked from 1, sorted by song and rank; a user counts once.

    Args:
        targets: Targets of some songs.
        most: Targets to keep of each song.
    """
    songs, users = codes(targets[SONG_ID]), codes(targets[USER_ID])
    # Of a listener found twice, the row with their count and reasons comes first: scores of the two may differ in the
    # last digit.
    score = targets["score"].to_numpy()
    reasons = pc.list_value_length(targets["reason_song_ids"]).to_numpy()
    once = np.lexsort((-score, -reasons, -targets["part_count"].to_numpy(), users, songs))
    pairs = songs[once] * (int(users.max(initial=0)) + 1) + users[once]
    once = once[np.unique(pairs, return_index=True)[1]]
    order = once[np.lexsort((users[once], -score[once], songs[once]))]
    rank = np.arange(len(order)) - np.searchsorted(songs[order], songs[order]) + 1
    kept = rank <= most
    ranked = targets.take(pa.array(order[kept]))
    column = TARGETS.get_field_index("rank")
    return ranked.set_column(column, "rank", pa.array(rank[kept].astype(np.int32)))


def finish(targets: pa.Table, summary: pa.Table, config: TargetingConfig) -> tuple[pa.Table, pa.Table]:
    """Returns targets and summary as they are written: cut to the number wanted, a random share set aside, counted.

    Args:
        targets: Candidates.
        summary: A row for each song.
        config: Settings.
    """
    targets = rank_within_songs(targets, config.listeners_per_song)
    aside = _held_aside(targets, config)
    group = np.where(aside, "held_aside", "target")
    targets = targets.set_column(TARGETS.get_field_index("group"), "group", pa.array(group.tolist(), pa.string()))
    songs = np.array(summary[SONG_ID].to_pylist(), dtype=object)
    order = np.argsort(songs, kind="stable")
    row = np.searchsorted(songs[order], np.array(targets[SONG_ID].to_pylist(), dtype=object))
    selected = np.bincount(row[~aside], minlength=len(songs))
    held = np.bincount(row[aside], minlength=len(songs))
    summary = summary.take(pa.array(order))
    nobody = "below the threshold" if config.cap is None else "below the threshold or capped"
    status = [
        "targeted" if some else given or nobody
        for given, some in zip(summary["status"].to_pylist(), (selected + held) > 0, strict=True)
    ]
    filled = {"status": status, "targets": selected.astype(np.int32), "held_aside": held.astype(np.int32)}
    for name, values in filled.items():
        summary = summary.set_column(SUMMARY.get_field_index(name), name, pa.array(values))
    return targets, summary


def _held_aside(targets: pa.Table, config: TargetingConfig) -> Array:
    """Returns a mask of the targets that are set aside, drawn by a hash of song and listener."""
    if config.held_aside == 0:
        return np.zeros(targets.num_rows, dtype=bool)
    key = f"aside {config.seed}".encode()
    pairs = zip(targets[SONG_ID].to_pylist(), targets[USER_ID].to_pylist(), strict=True)
    draws = [hashlib.blake2b(f"{song}\0{user}".encode(), digest_size=8, key=key).digest() for song, user in pairs]
    uniform = np.frombuffer(b"".join(draws), dtype="<u8") / 2.0**64
    return uniform < config.held_aside


def _reasons(matches: MatchLists, candidates: Candidates, chosen: Array, most: int) -> tuple[pa.Array, pa.Array]:
    """Returns the best matched songs that each chosen listener plays: lists of ids, and of scores."""
    # Pairs come match by match, best match first, so a stable sort by listener leaves the best first.
    order = np.argsort(candidates.pair_listener, kind="stable")
    listener = candidates.pair_listener[order]
    first = np.searchsorted(listener, chosen, side="left")
    count = np.minimum(np.searchsorted(listener, chosen, side="right") - first, most)
    rows = candidates.pair_match[order][ranges(first, count)]
    offsets = pa.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32))
    ids = pa.ListArray.from_arrays(offsets, arrow_texts(matches.match[rows]))
    return ids, pa.ListArray.from_arrays(offsets, pa.array(matches.score[rows].astype(np.float32)))


def codes(column: pa.ChunkedArray) -> Array:
    """Returns the place of each string among the sorted distinct strings.

    Args:
        column: Strings.
    """
    coded = column.dictionary_encode().combine_chunks()
    if len(column) == 0:
        return np.zeros(0, np.int64)
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    values = np.array(coded.dictionary.to_pylist(), dtype=object)
    place = np.empty(len(values), dtype=np.int64)
    place[np.argsort(values)] = np.arange(len(values))
    return place[coded.indices.to_numpy()]
