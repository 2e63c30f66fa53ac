"""Songs with similar audiences, from plays, on Beam.

Item-to-item collaborative filtering: two songs are similar when the same users play both,

    cosine(i, j) = |L_i n L_j| / sqrt(|L_i| |L_j|),      lift(i, j) = |L_i n L_j| U / (|L_i| |L_j|),

with L_i the listeners of song i and U the number of users. Counts are integers, so the result does not depend on how a
runner bundles or orders its input.

Elements are numpy columns of many plays, keyed by shard, since a Python element per play would cost more than the
arithmetic. Plays are shuffled three times: by song, to count listeners; by user, to gather what each user plays; and
each user's songs to every shard of songs that has one of them, where pairs are counted and ranked a block of songs at a
time. So pairs are never shuffled or kept: a user of n songs is sent min(n, shards) times, not n^2. The work is the sum
over users of (songs played)^2, bounded by `max_songs_per_user` and `max_listeners_per_song`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from scipy import sparse

from tfx_pipeline.contract.ids import Ids, id_array
from tfx_pipeline.contract.splits import NEW, WARM, ColdSplit, unit_hash
from tfx_pipeline.labels.config import AudienceConfig

_USER_SALT = "listener"
_ROWS_AT_ONCE = 256  # songs ranked at once: their counts with every other song are in memory


class Coded(NamedTuple):
    """A column of ids in which every id stands once: one long id does not widen a row of every play."""

    ids: Ids  # (m,) bytes, distinct
    codes: np.ndarray  # (n,) int32, the place of each row's id

    def take(self, rows: np.ndarray) -> Coded:
        """Returns some rows, with the ids that they need."""
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Coded(self.ids[used], codes.astype(np.int32))


class Songs(NamedTuple):
    """The songs that a block of plays numbers, and what is known of each."""

    ids: Ids  # (m,) bytes, ascending
    listeners: np.ndarray  # (m,) int64, all of them
    warm: np.ndarray  # (m,) bool
    new: np.ndarray  # (m,) bool: of too few listeners to be similar to others, but learnt from


class Plays(NamedTuple):
    """Distinct plays of the songs of one shard by the users of another."""

    users: Ids  # (k,) bytes, ascending
    warm_listener: np.ndarray  # (k,) bool: plays a warm song of this block, kept or not
    user_index: np.ndarray  # (n,) int32
    song_index: np.ndarray  # (n,) int32
    songs: Songs


class Histories(NamedTuple):
    """What some users play who play a song of one shard: that shard's songs, and all warm songs."""

    counts: np.ndarray  # (users,) int32, plays of each user
    song_index: np.ndarray  # (n,) int32, the users' songs one after the other
    songs: Songs


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
        labelled = (
            plays
            | "ShardBySong" >> beam.FlatMap(_shard_by_song, self.config.shards)
            | "GroupBySong" >> beam.GroupByKey()
            | "CountListeners"
            >> beam.ParDo(_CountListeners(self.split, self.config)).with_outputs("songs", main="plays")
        )
        users = (
            labelled.plays
            | "GroupByUser" >> beam.GroupByKey()
            | "GatherHistories" >> beam.ParDo(_GatherHistories(self.config)).with_outputs("users", main="histories")
        )
        num_users = users.users | "CountUsers" >> beam.CombineGlobally(sum)
        similar = (
            users.histories
            | "GroupHistories" >> beam.GroupByKey()
            | "RankSimilar" >> beam.FlatMap(_rank_similar, beam.pvalue.AsSingleton(num_users), self.config)
        )
        return (
            {"facts": labelled.songs, "similar": similar}
            | "JoinFacts" >> beam.CoGroupByKey()
            | "ToSimilarSongs" >> beam.MapTuple(_to_similar_songs)
        )


def _single_values(column: pa.Array) -> Coded:
    flat = column.flatten()
    if len(flat) != len(column):
        raise ValueError(f"each play must have one user_id and one song_id. Received: {len(flat)} in {len(column)}")
    coded = flat.dictionary_encode()
    return Coded(id_array(coded.dictionary), coded.indices.to_numpy())


def _shards(ids: Ids, shards: int) -> np.ndarray:
    """Returns the shard of each of `(n,)` distinct ids."""
    return np.array([zlib.crc32(id_) % shards for id_ in ids.tolist()], dtype=np.int64)


def _shard_by_song(batch: pa.RecordBatch, shards: int) -> Iterator[tuple[int, tuple[Coded, Coded]]]:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    users, songs = _single_values(columns["user_id"]), _single_values(columns["song_id"])
    shard_of = _shards(songs.ids, shards)[songs.codes]
    for shard in np.unique(shard_of):
        chosen = shard_of == shard
        yield int(shard), (users.take(chosen), songs.take(chosen))


class _CountListeners(beam.DoFn):
    """Knows every play of its songs: drops repeats, counts listeners, assigns splits, and passes plays on by user."""

    def __init__(self, split: ColdSplit, config: AudienceConfig) -> None:
        self._split = split
        self._config = config

    def process(
        self, element: tuple[int, Iterable[tuple[Coded, Coded]]]
    ) -> Iterator[tuple[int, Plays] | beam.pvalue.TaggedOutput]:
        (users, user_index), (songs, song_index) = (_join(parts) for parts in zip(*element[1], strict=True))
        song_index, user_index = np.divmod(np.unique(song_index.astype(np.int64) * len(users) + user_index), len(users))
        listeners = np.bincount(song_index, minlength=len(songs))
        splits = [self._split.assign(*song) for song in zip(songs.tolist(), listeners.tolist(), strict=True)]
        for song, *facts in zip(songs.tolist(), splits, listeners.tolist(), strict=True):
            yield beam.pvalue.TaggedOutput("songs", (song, tuple(facts)))
        known = Songs(songs, listeners, np.equal(splits, WARM), np.equal(splits, NEW))
        warm_listener = np.bincount(user_index, weights=known.warm[song_index], minlength=len(users)) > 0
        kept = _bounded(
            song_index, self._config.max_listeners_per_song, lambda _, own: _draws(users[user_index[own]], _USER_SALT)
        )
        user_index, song_index = user_index[kept], song_index[kept]
        user_shards = _shards(users, self._config.shards)
        for shard in np.unique(user_shards):
            of_shard = np.flatnonzero(user_shards == shard)
            chosen = user_shards[user_index] == shard
            number = np.searchsorted(of_shard, user_index[chosen]).astype(np.int32)
            here, song_number = _used(known, song_index[chosen])
            yield int(shard), Plays(users[of_shard], warm_listener[of_shard], number, song_number, here)


class _GatherHistories(beam.DoFn):
    """Knows every play of its users: sends what they play to each shard of songs in which they play one."""

    def __init__(self, config: AudienceConfig) -> None:
        self._config = config

    def process(
        self, element: tuple[int, Iterable[Plays]]
    ) -> Iterator[tuple[int, Histories] | beam.pvalue.TaggedOutput]:
        parts = list(element[1])
        users, to_user = _union([part.users for part in parts])
        songs, to_song = _merge([part.songs for part in parts])
        warm_listener = np.zeros(len(users), bool)
        for part, user_of in zip(parts, to_user, strict=True):
            warm_listener[user_of] |= part.warm_listener
        yield beam.pvalue.TaggedOutput("users", int(warm_listener.sum()))
        user_index = np.concatenate([user_of[p.user_index] for p, user_of in zip(parts, to_user, strict=True)])
        song_index = np.concatenate([song_of[p.song_index] for p, song_of in zip(parts, to_song, strict=True)])
        # Songs are drawn among their like: a play of a held-out song must not push one out of what others learn from.
        like = songs.warm[song_index] + 2 * songs.new[song_index]
        kept = _bounded(
            3 * user_index + like,
            self._config.max_songs_per_user,
            lambda owner, own: _draws(songs.ids[song_index[own]], users[owner // 3].hex()),
        )
        user_index, song_index = user_index[kept], song_index[kept]
        order = np.lexsort((song_index, user_index))
        user_index, song_index = user_index[order], song_index[order]
        shard_of = _shards(songs.ids, self._config.shards)[song_index]
        warm = songs.warm[song_index]
        for shard in np.unique(shard_of):
            of_shard = shard_of == shard
            has_one = np.bincount(user_index, weights=of_shard, minlength=len(users)) > 0
            sent = has_one[user_index] & (warm | of_shard)
            here, number = _used(songs, song_index[sent])
            counts = np.bincount(user_index[sent], minlength=len(users))[has_one]
            yield int(shard), Histories(counts.astype(np.int32), number, here)


def _used(songs: Songs, index: np.ndarray) -> tuple[Songs, np.ndarray]:
    """Returns the songs that an index names, and the index into those."""
    used, number = np.unique(index, return_inverse=True)
    return Songs(*(column[used] for column in songs)), number.astype(np.int32)


def _bounded(owner: np.ndarray, most: int, draws_of: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
    """Returns which plays to keep: of an owner of more than `most`, those of the lowest draws.

    Args:
        owner: `(n,)` the number of each play's owner.
        most: Plays that an owner may keep.
        draws_of: Draws for `(owner, places of its plays)`.
    """
    counts = np.bincount(owner)
    kept = counts[owner] <= most
    if not kept.all():
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(counts)
        for crowded in np.flatnonzero(counts > most).tolist():
            own = order[ends[crowded] - counts[crowded] : ends[crowded]]
            kept[own[np.argsort(draws_of(crowded, own), kind="stable")[:most]]] = True
    return kept


def _draws(ids: Ids, salt: str) -> np.ndarray:
    return np.array([unit_hash(id_, salt) for id_ in ids.tolist()])


def _join(parts: Sequence[Coded]) -> Coded:
    """Returns the rows of all parts, ids ascending."""
    ids, places = _union([part.ids for part in parts])
    return Coded(ids, np.concatenate([place[part.codes] for place, part in zip(places, parts, strict=True)]))


def _union(vocabularies: list[Ids]) -> tuple[Ids, list[np.ndarray]]:
    """Returns the union, ascending, and where each vocabulary's entries went."""
    union, index = np.unique(np.concatenate(vocabularies), return_inverse=True)
    return union, np.split(index.astype(np.int32), np.cumsum([len(ids) for ids in vocabularies])[:-1])


def _merge(parts: list[Songs]) -> tuple[Songs, list[np.ndarray]]:
    """Joins the songs of many blocks: their union, and where each block's songs went."""
    ids, places = _union([part.ids for part in parts])
    songs = Songs(ids, np.zeros(len(ids), np.int64), np.zeros(len(ids), bool), np.zeros(len(ids), bool))
    for part, place in zip(parts, places, strict=True):
        songs.listeners[place], songs.warm[place], songs.new[place] = part.listeners, part.warm, part.new
    return songs, places


def _rank_similar(
    element: tuple[int, Iterable[Histories]], num_users: int, config: AudienceConfig
) -> Iterator[tuple[bytes, tuple[list[bytes], list[float]]]]:
    shard, parts = element[0], list(element[1])
    songs, to_song = _merge([part.songs for part in parts])
    starts = np.concatenate([[0], np.cumsum(np.concatenate([part.counts for part in parts]))])
    columns = np.concatenate([song_of[part.song_index] for part, song_of in zip(parts, to_song, strict=True)])
    ones = np.ones(len(columns), np.int32)
    played = sparse.csr_matrix((ones, columns, starts), shape=(len(starts) - 1, len(songs.ids)))
    rows, warm = np.flatnonzero(_shards(songs.ids, config.shards) == shard), np.flatnonzero(songs.warm)
    by_song, warm_played = played.tocsc(), played[:, warm].tocsr()
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        together = (by_song[:, block].T.tocsr() @ warm_played).tocsr()
        for place, song in enumerate(block):
            span = slice(together.indptr[place], together.indptr[place + 1])
            yield _most_similar(songs, song, warm[together.indices[span]], together.data[span], num_users, config)


def _most_similar(
    songs: Songs, song: int, others: np.ndarray, together: np.ndarray, num_users: int, config: AudienceConfig
) -> tuple[bytes, tuple[list[bytes], list[float]]]:
    """Ranks the songs that a song is played together with; ties go to the smaller id."""
    listeners = songs.listeners[song]
    # Both songs keep the same listeners first: of those they share, both kept as many as the more popular one keeps.
    crowd = np.maximum(songs.listeners[others], listeners)
    count = together * np.maximum(crowd / config.max_listeners_per_song, 1.0)
    chance = listeners * songs.listeners[others].astype(np.float64)
    kept = others != song
    if songs.warm[song] or songs.new[song]:
        kept &= count * num_users > config.min_lift * chance
    others, cosine = others[kept], (count / np.sqrt(chance))[kept]
    if len(others) > config.top_m:
        strong = cosine >= -np.partition(-cosine, config.top_m - 1)[config.top_m - 1]
        others, cosine = others[strong], cosine[strong]
    best = np.lexsort((others, -cosine))[: config.top_m]  # songs are numbered by id
    return bytes(songs.ids[song]), (songs.ids[others[best]].tolist(), cosine[best].tolist())


def _to_similar_songs(song: bytes, joined: dict[str, list]) -> tuple[bytes, SimilarSongs]:
    split, listeners = joined["facts"][0]
    ids, scores = joined["similar"][0] if joined["similar"] else ([], [])
    return song, SimilarSongs(split, listeners, ids, scores)
