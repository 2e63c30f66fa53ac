"""The Beam steps that bring plays, vectors and requests together: by song, then by listener."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import pvalue

from tfx_pipeline.contract.ids import among, no_ids
from tfx_pipeline.targeting.beam import listeners, routing, weights
from tfx_pipeline.targeting.beam.blocks import Block, group_rows, merge_plays, shard_of
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import one_thread

Blocks = dict[str, beam.PCollection]
Sizes = dict[str, pvalue.AsSingleton]
Parts = dict[str, list[Block]]


class Joined(NamedTuple):
    """Plays joined with the catalogue, by song shard."""

    plays: beam.PCollection  # (listener shard, plays block with vectors)
    audiences: beam.PCollection  # (cold shard, audiences block)
    wanted: beam.PCollection  # (listener shard, {cold, users})
    truth: beam.PCollection  # (cold shard, audiences block of validation songs)
    heard: beam.PCollection  # (cold shard, {songs, users}: new songs and who plays them already)
    counts: beam.PCollection


class Vectors(NamedTuple):
    """Listener vectors, by listener shard."""

    answers: beam.PCollection  # (cold shard, {users, vectors, excluded})
    listeners: beam.PCollection  # (listener shard, {users, vectors, excluded})
    counts: beam.PCollection


def join_songs(blocks: Blocks, sizes: Sizes, config: TargetingConfig) -> Joined:
    """Brings plays, vectors and requests for audiences together by song."""
    plays = blocks["plays"] | "PlaysBySong" >> beam.FlatMap(
        routing.plays_by_song, sizes["play_shards"]
    ).with_output_types(tuple[int, Any])
    catalogue = blocks["catalogue"] | "VectorsBySong" >> beam.FlatMap(
        routing.rows_by, "ids", sizes["play_shards"]
    ).with_output_types(tuple[int, Any])
    requests = blocks["matches"] | "MatchesBySong" >> beam.FlatMap(
        routing.audience_requests, sizes["play_shards"], sizes["song_shards"]
    ).with_output_types(tuple[int, Any])
    outputs = (
        {"plays": plays, "catalogue": catalogue, "requests": requests}
        | "GroupBySong" >> beam.CoGroupByKey()
        | "JoinSongs"
        >> beam.ParDo(_JoinSongs(config), sizes["play_shards"], sizes["song_shards"]).with_outputs(*Joined._fields)
    )
    return Joined(*(outputs[name] for name in Joined._fields))


def form_vectors(blocks: Blocks, joined: Joined, sizes: Sizes, config: TargetingConfig) -> Vectors:
    """Forms the vectors of listeners, or takes them from the given table, and answers the requests for them."""
    parts = {"wanted": joined.wanted}
    if "listeners" in blocks:
        parts["table"] = blocks["listeners"] | "TableByListener" >> beam.FlatMap(
            routing.rows_by,
            "users",
            sizes["play_shards"],
        ).with_output_types(tuple[int, Any])
    else:
        parts["plays"] = joined.plays
    if "exclusions" in blocks:
        everywhere = blocks["exclusions"] | "ExcludedEverywhere" >> beam.Map(
            routing.where_song_empty, True
        ).with_output_types(Any)
        parts["excluded"] = everywhere | "ExclusionsByListener" >> beam.FlatMap(
            routing.rows_by,
            "users",
            sizes["play_shards"],
        ).with_output_types(tuple[int, Any])
    outputs = (
        parts
        | "GroupByListener" >> beam.CoGroupByKey()
        | "FormVectors" >> beam.ParDo(_FormVectors(config)).with_outputs(*Vectors._fields)
    )
    return Vectors(*(outputs[name] for name in Vectors._fields))


class _JoinSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, Parts], shards: int, cold_shards: int) -> Iterator[Any]:
        _, parts = element
        catalogue = listeners.merge_catalogue(list(parts["catalogue"]))
        merged = merge_plays(list(parts["plays"]))
        plays, counts = listeners.usable_plays(merged, catalogue, self._config.listener_splits)
        if self._config.chooses_weight:
            for cold, truth in weights.validation_listeners(merged, catalogue, cold_shards, self._config):
                yield pvalue.TaggedOutput("truth", (cold, truth))
        for cold, pairs in listeners.own_listeners(merged, catalogue, cold_shards):
            yield pvalue.TaggedOutput("heard", (cold, pairs))
        for shard, part in listeners.plays_by_listener(plays, catalogue, shards):
            yield pvalue.TaggedOutput("plays", (shard, part))
        table = listeners.audiences(plays, self._config.max_audience, self._config.seed)
        for cold, wanted in routing.unite_requests(parts["requests"]):
            audience = listeners.requested_audiences(table, wanted)
            yield pvalue.TaggedOutput("audiences", (cold, audience))
            for shard, rows in group_rows(shard_of(audience["users"], shards)):
                yield pvalue.TaggedOutput(
                    "wanted", (shard, {"cold": np.array([cold]), "users": audience["users"][rows]})
                )
        counts["songs_in_catalogue"] = len(catalogue["ids"])
        yield pvalue.TaggedOutput("counts", counts)


class _FormVectors(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, Parts]) -> Iterator[Any]:
        key, parts = element
        with one_thread():
            table = self._table(parts)
        excluded = [part["users"] for part in parts.get("excluded", [])]
        everywhere = np.unique(np.concatenate(excluded)) if excluded else no_ids()
        table["excluded"] = among(table["users"], everywhere)
        for cold, wanted in routing.unite_requests(parts["wanted"], "users"):
            yield pvalue.TaggedOutput("answers", (cold, listeners.pick(table, wanted, everywhere)))
        yield pvalue.TaggedOutput("listeners", (key, table))
        without = int((~table["vectors"].any(axis=(1, 2))).sum())
        counts = {"listeners": len(table["users"]), "listeners_without_vector": without}
        counts["listeners_excluded"] = int(table["excluded"].sum())
        counts["exclusions_of_unknown_listeners"] = len(everywhere) - counts["listeners_excluded"]
        yield pvalue.TaggedOutput("counts", counts)

    def _table(self, parts: Parts) -> Block:
        if "table" in parts:
            return listeners.merge_listeners(list(parts["table"]))
        return listeners.listener_vectors(list(parts["plays"]), self._config.interests, self._config.seed)
