"""Songs with similar audiences, from plays, on Beam.

Item-to-item collaborative filtering: two songs are similar when the same users play both,

    cosine(i, j) = |L_i n L_j| / sqrt(|L_i| |L_j|),      lift(i, j) = |L_i n L_j| U / (|L_i| |L_j|),

with L_i the listeners of song i and U the number of users. Counts are integers, so the result does not depend on how a
runner bundles or orders its input.

Elements are blocks of many plays, keyed by shard: a Python element for each play would cost more than the arithmetic.
Plays are shuffled three times: by song, to count listeners; by user, to gather what each user plays; and each user's
songs to every shard of songs that has one of them. There, pairs are counted and ranked a block of songs at a time. So
pairs are never shuffled or kept: a user of n songs is sent min(n, shards) times, not n^2. The work is the sum over
users of (songs played)^2, bounded by `max_songs_per_user` and `max_listeners_per_song`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.columnar.arrow import coded_ids
from tfx_pipeline.columnar.coded import Coded, union
from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import group_rows
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.splits import NEW, WARM, ColdSplit
from tfx_pipeline.labels.blocks import Histories, Plays, Songs
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.ranking import Similar, rank_shard
from tfx_pipeline.labels.sampling import at_most, draws

_USER_SALT = "listener"

_Keyed = tuple[int, Any]
UsersAndSongs = tuple[Coded, Coded]  # of the same plays


class SimilarSongs(NamedTuple):
    """What plays tell about one song.

    Attributes:
        split: Its split.
        listeners: Number of its listeners.
        ids: Its most similar warm songs, best first.
        scores: Their cosines.
    """

    split: str
    listeners: int
    ids: list[bytes]
    scores: list[float]


class FindSimilarSongs(beam.PTransform[Any, Any]):
    """Turns tables of plays into (song_id, SimilarSongs) for every song that has a listener.

    Input: `pyarrow.Table`s with the columns `user_id` and `song_id`. Similar songs are always warm. Warm songs are
    compared through plays of warm songs alone.

    Args:
        config: Settings.
        split: The rule that puts a song into a split.
    """

    def __init__(self, config: AudienceConfig, split: ColdSplit) -> None:
        super().__init__()
        self.config = config
        self.split = split

    def expand(self, plays: pvalue.PCollection[Any]) -> pvalue.PCollection[Any]:
        """Adds the steps to the pipeline."""
        labelled = (
            plays
            | "ShardBySong" >> beam.FlatMap(_shard_by_song, self.config.shards).with_output_types(_Keyed)
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
            | "RankSimilar"
            >> beam.FlatMap(_rank_similar, pvalue.AsSingleton(num_users), self.config).with_output_types(
                tuple[bytes, Any]
            )
        )
        return (
            {"facts": labelled.songs, "similar": similar}
            | "JoinFacts" >> beam.CoGroupByKey()
            | "ToSimilarSongs" >> beam.MapTuple(_to_similar_songs).with_output_types(tuple[bytes, Any])
        )


def _shard_by_song(plays: pa.Table, shards: int) -> Iterator[tuple[int, UsersAndSongs]]:
    users, songs = coded_ids(plays, "plays", USER_ID), coded_ids(plays, "plays", SONG_ID)
    for shard, rows in group_rows(shard_of(songs.ids, shards)[songs.codes]):
        yield shard, (users.take(rows), songs.take(rows))


class _CountListeners(beam.DoFn):
    """Knows every play of its songs: drops repeats, counts listeners, assigns splits, and passes plays on by user."""

    def __init__(self, split: ColdSplit, config: AudienceConfig) -> None:
        self._split = split
        self._config = config

    def process(
        self, element: tuple[int, Iterable[UsersAndSongs]]
    ) -> Iterator[tuple[int, Plays] | pvalue.TaggedOutput[Any, Any]]:
        (users, user_index), (songs, song_index) = (Coded.concatenate(part) for part in zip(*element[1], strict=True))
        song_index, user_index = np.divmod(np.unique(song_index.astype(np.int64) * len(users) + user_index), len(users))
        listeners = np.bincount(song_index, minlength=len(songs))
        splits = [self._split.assign(*song) for song in zip(songs.tolist(), listeners.tolist(), strict=True)]
        for song, *facts in zip(songs.tolist(), splits, listeners.tolist(), strict=True):
            yield pvalue.TaggedOutput("songs", (song, tuple(facts)))
        known = Songs(songs, listeners, np.equal(splits, WARM), np.equal(splits, NEW))
        warm_listener = np.bincount(user_index, weights=known.warm[song_index], minlength=len(users)) > 0
        kept = at_most(
            song_index, self._config.max_listeners_per_song, lambda _, own: draws(users[user_index[own]], _USER_SALT)
        )
        user_index, song_index = user_index[kept], song_index[kept]
        user_shards = shard_of(users, self._config.shards)
        for shard, of_shard in group_rows(user_shards):
            chosen = user_shards[user_index] == shard
            number = np.searchsorted(of_shard, user_index[chosen]).astype(np.int32)
            here, song_number = known.used_by(song_index[chosen])
            yield shard, Plays(users[of_shard], warm_listener[of_shard], number, song_number, here)


class _GatherHistories(beam.DoFn):
    """Knows every play of its users: sends what they play to each shard of songs in which they play one."""

    def __init__(self, config: AudienceConfig) -> None:
        self._config = config

    def process(
        self, element: tuple[int, Iterable[Plays]]
    ) -> Iterator[tuple[int, Histories] | pvalue.TaggedOutput[Any, Any]]:
        parts = list(element[1])
        users, to_user = union([part.users for part in parts])
        songs, to_song = Songs.union([part.songs for part in parts])
        warm_listener = np.zeros(len(users), bool)
        for part, user_of in zip(parts, to_user, strict=True):
            warm_listener[user_of] |= part.warm_listener
        yield pvalue.TaggedOutput("users", int(warm_listener.sum()))
        user_index = np.concatenate([user_of[p.user_index] for p, user_of in zip(parts, to_user, strict=True)])
        song_index = np.concatenate([song_of[p.song_index] for p, song_of in zip(parts, to_song, strict=True)])
        # Each kind of song is sampled apart: a play of a held-out song must not displace one that is trained on.
        like = songs.warm[song_index] + 2 * songs.new[song_index]
        kept = at_most(
            3 * user_index + like,
            self._config.max_songs_per_user,
            lambda owner, own: draws(songs.ids[song_index[own]], users[owner // 3].hex()),
        )
        user_index, song_index = user_index[kept], song_index[kept]
        order = np.lexsort((song_index, user_index))
        user_index, song_index = user_index[order], song_index[order]
        song_shards = shard_of(songs.ids, self._config.shards)[song_index]
        warm = songs.warm[song_index]
        for shard in np.unique(song_shards):
            of_shard = song_shards == shard
            has_one = np.bincount(user_index, weights=of_shard, minlength=len(users)) > 0
            sent = has_one[user_index] & (warm | of_shard)
            here, number = songs.used_by(song_index[sent])
            counts = np.bincount(user_index[sent], minlength=len(users))[has_one]
            yield int(shard), Histories(counts.astype(np.int32), number, here)


def _rank_similar(
    element: tuple[int, Iterable[Histories]], num_users: int, config: AudienceConfig
) -> Iterator[tuple[bytes, Similar]]:
    yield from rank_shard(element[0], list(element[1]), num_users, config)


def _to_similar_songs(song: bytes, joined: dict[str, list[Any]]) -> tuple[bytes, SimilarSongs]:
    split, listeners = joined["facts"][0]
    ids, scores = joined["similar"][0] if joined["similar"] else ([], [])
    return song, SimilarSongs(split, listeners, ids, scores)
