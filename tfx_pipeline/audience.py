"""Songs with similar audiences, from plays, on Beam.

Item-to-item collaborative filtering: two songs are similar when the same users play both,

    cosine(i, j) = |L_i n L_j| / sqrt(|L_i| |L_j|),      lift(i, j) = |L_i n L_j| U / (|L_i| |L_j|),

with L_i the listeners of song i and U the number of users. Counts are integers, so the result does not depend on how a
runner bundles or orders its input.

Elements are numpy columns of many plays, keyed by shard, since a Python element per play would cost more than the
arithmetic. Plays are shuffled twice: by song, to count listeners; by user, to count what is played together. Work is
the sum over users of (songs played)^2, bounded by `max_songs_per_user`; memory is that of one shard.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from scipy import sparse

from tfx_pipeline.cold_split import TEST, VALIDATION, WARM, ColdSplit, unit_hash

_LEARNABLE = (WARM, VALIDATION, TEST)


@dataclass(frozen=True)
class AudienceConfig:
    """Settings of the similar-song step.

    Args:
        top_m: Similar songs kept per song.
        min_lift: A pair that trains must be played together more than this many times as often as by chance. The truth
            of held-out songs is not filtered.
        max_songs_per_user: Songs of a user beyond this number are sampled by hash, so that one heavy user cannot
            square the work.
        shards: Parts into which songs and users are cut; more parts need less memory each.
    """

    top_m: int = 100
    min_lift: float = 1.0
    max_songs_per_user: int = 1000
    shards: int = 16


class Plays(NamedTuple):
    """Distinct (user, song) pairs in columns; `listeners` and `warm` describe the song."""

    users: np.ndarray  # (n,) bytes
    songs: np.ndarray  # (n,) bytes
    listeners: np.ndarray  # (n,) int64
    warm: np.ndarray  # (n,) bool


class CoListens(NamedTuple):
    """Counts of songs played together, in coordinate form over two vocabularies of song ids."""

    rows: np.ndarray  # (r,) bytes
    row_listeners: np.ndarray  # (r,) int64
    row_warm: np.ndarray  # (r,) bool
    cols: np.ndarray  # (c,) bytes
    col_listeners: np.ndarray  # (c,) int64
    row_index: np.ndarray  # (nnz,) int32
    col_index: np.ndarray  # (nnz,) int32
    counts: np.ndarray  # (nnz,) int32


class SimilarSongs(NamedTuple):
    """What plays say of one song: its split, its number of listeners, its most similar warm songs and their cosines."""

    split: str
    listeners: int
    ids: list[bytes]
    scores: list[float]


class FindSimilarSongs(beam.PTransform):
    """Turns record batches of plays into (song_id, SimilarSongs) for every song that has a listener.

    Input: `pyarrow.RecordBatch` with list columns `user_id` and `song_id` of one value each. Similar songs are always
    warm. Warm songs are compared through plays of warm songs alone.
    """

    def __init__(self, config: AudienceConfig, split: ColdSplit) -> None:
        super().__init__()
        self.config = config
        self.split = split

    def expand(self, plays: beam.PCollection) -> beam.PCollection:
        shards = self.config.shards
        labelled = (
            plays
            | "ShardBySong" >> beam.FlatMap(_shard_by_song, shards)
            | "GroupBySong" >> beam.GroupByKey()
            | "CountListeners" >> beam.ParDo(_CountListeners(self.split, shards)).with_outputs("songs", main="plays")
        )
        users = (
            labelled.plays
            | "GroupByUser" >> beam.GroupByKey()
            | "CountTogether" >> beam.ParDo(_CountTogether(self.config)).with_outputs("users", main="together")
        )
        num_users = users.users | "CountUsers" >> beam.CombineGlobally(sum)
        similar = (
            users.together
            | "GroupTogether" >> beam.GroupByKey()
            | "RankSimilar" >> beam.FlatMap(_rank_similar, beam.pvalue.AsSingleton(num_users), self.config)
        )
        return (
            {"facts": labelled.songs, "similar": similar}
            | "JoinFacts" >> beam.CoGroupByKey()
            | "ToSimilarSongs" >> beam.MapTuple(_to_similar_songs)
        )


def _single_values(column: pa.Array) -> np.ndarray:
    flat = column.flatten()
    if len(flat) != len(column):
        raise ValueError(f"each play must have one user_id and one song_id. Received: {len(flat)} in {len(column)}")
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=bytes)


def _shards(ids: np.ndarray, shards: int) -> np.ndarray:
    vocabulary, index = np.unique(ids, return_inverse=True)
    of_vocabulary = np.array([zlib.crc32(id_) % shards for id_ in vocabulary.tolist()], dtype=np.int64)
    return of_vocabulary[index]


def _shard_by_song(batch: pa.RecordBatch, shards: int) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    users, songs = _single_values(columns["user_id"]), _single_values(columns["song_id"])
    shard_of = _shards(songs, shards)
    for shard in np.unique(shard_of):
        chosen = shard_of == shard
        yield int(shard), (users[chosen], songs[chosen])


class _CountListeners(beam.DoFn):
    """Knows every play of its songs: drops repeats, counts listeners, assigns splits, and passes plays on by user."""

    def __init__(self, split: ColdSplit, shards: int) -> None:
        self._split = split
        self._shards = shards

    def process(
        self, element: tuple[int, Iterable[tuple[np.ndarray, np.ndarray]]]
    ) -> Iterator[tuple[int, Plays] | beam.pvalue.TaggedOutput]:
        users, songs = (np.concatenate(parts) for parts in zip(*element[1], strict=True))
        user_vocabulary, user_index = np.unique(users, return_inverse=True)
        song_vocabulary, song_index = np.unique(songs, return_inverse=True)
        pairs = np.unique(song_index.astype(np.int64) * len(user_vocabulary) + user_index)
        song_index, user_index = np.divmod(pairs, len(user_vocabulary))
        listeners = np.bincount(song_index, minlength=len(song_vocabulary))
        splits = [
            self._split.assign(song, int(count))
            for song, count in zip(song_vocabulary.tolist(), listeners, strict=True)
        ]
        for song, facts in zip(song_vocabulary.tolist(), zip(splits, listeners.tolist(), strict=True), strict=True):
            yield beam.pvalue.TaggedOutput("songs", (song, facts))
        learnable = np.isin(splits, _LEARNABLE)
        warm = np.equal(splits, WARM)
        kept = learnable[song_index]
        user_index, song_index = user_index[kept], song_index[kept]
        plays = Plays(user_vocabulary[user_index], song_vocabulary[song_index], listeners[song_index], warm[song_index])
        user_shards = _shards(plays.users, self._shards)
        for shard in np.unique(user_shards):
            yield int(shard), Plays(*(column[user_shards == shard] for column in plays))


class _CountTogether(beam.DoFn):
    """Knows every play of its users: counts for each pair of songs how many of these users play both."""

    def __init__(self, config: AudienceConfig) -> None:
        self._config = config

    def process(
        self, element: tuple[int, Iterable[Plays]]
    ) -> Iterator[tuple[int, CoListens] | beam.pvalue.TaggedOutput]:
        plays = _bound_heavy_users(
            Plays(*map(np.concatenate, zip(*element[1], strict=True))), self._config.max_songs_per_user
        )
        users, user_index = np.unique(plays.users, return_inverse=True)
        songs, first, song_index = np.unique(plays.songs, return_index=True, return_inverse=True)
        listeners, warm = plays.listeners[first], plays.warm[first]
        yield beam.pvalue.TaggedOutput("users", len(np.unique(user_index[plays.warm])))
        played = sparse.csr_matrix(
            (np.ones(len(user_index), np.int32), (user_index, song_index)), shape=(len(users), len(songs))
        )
        warm_played = played[:, warm].tocsr()
        shards = _shards(songs, self._config.shards)
        for shard in np.unique(shards):
            rows = np.flatnonzero(shards == shard)
            together = (played[:, rows].T @ warm_played).tocoo()
            yield (
                int(shard),
                CoListens(
                    songs[rows],
                    listeners[rows],
                    warm[rows],
                    songs[warm],
                    listeners[warm],
                    together.row.astype(np.int32),
                    together.col.astype(np.int32),
                    together.data.astype(np.int32),
                ),
            )


def _bound_heavy_users(plays: Plays, max_songs: int) -> Plays:
    users, index, counts = np.unique(plays.users, return_inverse=True, return_counts=True)
    kept = counts[index] <= max_songs
    for user in np.flatnonzero(counts > max_songs):
        own = np.flatnonzero(index == user)
        salt = users[user].hex()
        draws = [unit_hash(song, salt) for song in plays.songs[own].tolist()]
        kept[own[np.argsort(draws, kind="stable")[:max_songs]]] = True
    return Plays(*(column[kept] for column in plays))


def _merge(vocabularies: list[np.ndarray], facts: list[list[np.ndarray]]) -> tuple[np.ndarray, list[np.ndarray], list]:
    """Joins vocabularies: the union, the facts of each of its entries, and where each vocabulary's entries went."""
    union, first, index = np.unique(np.concatenate(vocabularies), return_index=True, return_inverse=True)
    ends = np.cumsum([len(vocabulary) for vocabulary in vocabularies])[:-1]
    return union, [np.concatenate(fact)[first] for fact in facts], np.split(index, ends)


def _rank_similar(
    element: tuple[int, Iterable[CoListens]], num_users: int, config: AudienceConfig
) -> Iterator[tuple[bytes, tuple[list[bytes], list[float]]]]:
    parts = list(element[1])
    rows, (row_listeners, row_warm), to_row = _merge(
        [part.rows for part in parts], [[p.row_listeners for p in parts], [p.row_warm for p in parts]]
    )
    cols, (col_listeners,), to_col = _merge([part.cols for part in parts], [[p.col_listeners for p in parts]])
    together = sparse.csr_matrix((len(rows), len(cols)), dtype=np.int64)
    for part, row_of, col_of in zip(parts, to_row, to_col, strict=True):
        together += sparse.csr_matrix(
            (part.counts, (row_of[part.row_index], col_of[part.col_index])), shape=together.shape, dtype=np.int64
        )
    for row, song in enumerate(rows.tolist()):
        span = slice(together.indptr[row], together.indptr[row + 1])
        col, count = together.indices[span], together.data[span]
        chance = row_listeners[row] * col_listeners[col].astype(np.float64)
        kept = cols[col] != song
        if row_warm[row]:
            kept &= count * num_users > config.min_lift * chance
        col, cosine = col[kept], (count / np.sqrt(chance))[kept]
        best = np.lexsort((col, -cosine))[: config.top_m]  # columns are sorted by id: ties go to the smaller id
        yield song, (cols[col[best]].tolist(), cosine[best].tolist())


def _to_similar_songs(song: bytes, joined: dict[str, list]) -> tuple[bytes, SimilarSongs]:
    split, listeners = joined["facts"][0]
    ids, scores = joined["similar"][0] if joined["similar"] else ([], [])
    return song, SimilarSongs(split, listeners, ids, scores)
