"""Reach "expand" (R2): the best of all listeners for each cold song, exact, without songs x listeners in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.columnar.rows import Array
from tfx_pipeline.contract.ids import USER_ID, among, arrow_texts
from tfx_pipeline.targeting.beam import result_tables
from tfx_pipeline.targeting.beam.blocks import Listeners
from tfx_pipeline.targeting.beam.candidates import SongQuery
from tfx_pipeline.targeting.beam.joining import Sizes
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import one_thread
from tfx_pipeline.targeting.rules.scores import clusters_of, score_vectors


def expand_reach(
    targets: pvalue.PCollection[Any],
    queries: pvalue.PCollection[Any],
    listeners: pvalue.PCollection[Any],
    sizes: Sizes,
    config: TargetingConfig,
) -> pvalue.PCollection[Any]:
    """Adds the best of all listeners to the candidates from the audience and keeps the best of both.

    Every listener shard meets every shard of cold songs once, as in a block-nested join, so memory holds one of each.
    A listener outside the audience has a count of 0, and a count only adds to a score. So each of the best M listeners
    is among the best M by vector, or in the scored audience. The result is exact.

    Args:
        targets: (cold shard, candidates from the audience).
        queries: (cold shard, list of SongQuery).
        listeners: (listener shard, Listeners).
        sizes: Numbers of shards.
        config: Settings.

    Returns:
        (cold shard, candidates).
    """
    met = {
        "listeners": listeners
        | "ListenersToEverySongShard"
        >> beam.FlatMap(_listeners_to_songs, sizes["song_shards"]).with_output_types(tuple[tuple[int, int], Any]),
        "queries": queries
        | "QueriesToEveryListenerShard"
        >> beam.FlatMap(_queries_to_listeners, sizes["play_shards"]).with_output_types(tuple[tuple[int, int], Any]),
    }
    found = (
        met
        | "GroupPairsOfShards" >> beam.CoGroupByKey()
        | "ScoreAllListeners" >> beam.ParDo(_ScoreAll(config)).with_output_types(tuple[int, Any])
    )
    return (
        (targets, found)
        | "AudienceAndOthers" >> beam.Flatten()
        | "GroupCandidates" >> beam.GroupByKey()
        | "KeepBest" >> beam.Map(_keep_best, config.depth).with_output_types(tuple[int, Any])
    )


def best_listeners(query: SongQuery, listeners: Listeners, config: TargetingConfig) -> tuple[Array, Array, Array]:
    """Returns the best `config.depth` listeners of one song by vector, best first, ties by id.

    Args:
        query: What the song compares listeners with.
        listeners: Listeners with vectors, sorted.
        config: Settings.

    Returns:
        (listeners' places, scores float32, closest centers).
    """
    parts = []
    for start in range(0, len(listeners), config.listeners_at_once):
        vectors = listeners.vectors[start : start + config.listeners_at_once]
        score, center = score_vectors(vectors, query.query, pooling=config.pooling, temperature=config.temperature)
        score = score.astype(np.float32)
        chosen = _top(score, config.depth + len(query.excluded))
        parts.append((chosen + start, score[chosen], center[chosen]))
    place, score, center = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    allowed = ~among(listeners.users[place], query.excluded)
    if config.threshold is not None:
        allowed &= score >= config.threshold
    kept = np.flatnonzero(allowed)
    kept = kept[np.lexsort((place[kept], -score[kept]))[: config.depth]]
    return place[kept], score[kept], center[kept]


class _ScoreAll(beam.DoFn):
    def __init__(self, config: TargetingConfig) -> None:
        self._config = config

    def process(self, element: tuple[tuple[int, int], dict[str, list[Any]]]) -> Iterator[tuple[int, pa.Table]]:
        (_, cold), parts = element
        queries = [query for batch in parts["queries"] for query in batch]
        for block in parts["listeners"]:
            usable = block.take(~block.excluded & block.vectors.any(axis=(1, 2)))
            listeners = dataclasses.replace(usable, vectors=usable.vectors.astype(np.float64))
            if queries and len(usable):
                with one_thread():
                    found = [_table(query, listeners, self._config) for query in queries]
                yield cold, pa.concat_tables(found).combine_chunks()


def _table(query: SongQuery, listeners: Listeners, config: TargetingConfig) -> pa.Table:
    place, score, center = best_listeners(query, listeners, config)
    rows = len(place)
    empty = pa.array(np.zeros(rows + 1, dtype=np.int32))
    columns = {
        "rank": np.arange(1, rows + 1, dtype=np.int32),
        USER_ID: arrow_texts(listeners.users[place]),
        "score": score,
        "reason_song_ids": pa.ListArray.from_arrays(empty, pa.array([], pa.string())),
        "reason_scores": pa.ListArray.from_arrays(empty, pa.array([], pa.float32())),
        "cluster": clusters_of(center, config),
        "part_vector": score,
        "part_count": np.zeros(rows, dtype=np.float32),
    }
    return result_tables.targets_table(query.song.decode(), query.split.decode(), config.rule, columns)


def _top(scores: Array, most: int) -> Array:
    """Returns the places of the `most` largest, ascending; of equal ones at the edge the first."""
    if len(scores) <= most:
        return np.arange(len(scores))
    edge = np.partition(scores, len(scores) - most)[len(scores) - most]
    above = np.flatnonzero(scores > edge)
    return np.union1d(above, np.flatnonzero(scores == edge)[: most - len(above)])


def _listeners_to_songs(
    element: tuple[int, Listeners], song_shards: int
) -> Iterator[tuple[tuple[int, int], Listeners]]:
    shard, block = element
    for songs in range(song_shards):
        yield (shard, songs), block


def _queries_to_listeners(
    element: tuple[int, list[SongQuery]], play_shards: int
) -> Iterator[tuple[tuple[int, int], list[SongQuery]]]:
    cold, queries = element
    for shard in range(play_shards):
        yield (shard, cold), queries


def _keep_best(element: tuple[int, Any], most: int) -> tuple[int, pa.Table]:
    cold, found = element
    return cold, result_tables.rank_within_songs(pa.concat_tables(list(found)), most)
