"""The Beam steps that bring plays, vectors and requests together: by song, then by listener."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam import pvalue

from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import group_rows
from tfx_pipeline.contract.ids import among, no_ids
from tfx_pipeline.targeting.beam import catalogue_join, count_weight, routing
from tfx_pipeline.targeting.beam.audiences import audiences, requested_audiences
from tfx_pipeline.targeting.beam.blocks import Catalogue, Listeners, Plays, Request
from tfx_pipeline.targeting.beam.listener_vectors import given_listeners, listener_vectors, pick_listeners
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import one_thread

Blocks = dict[str, pvalue.PCollection[Any]]
Sizes = dict[str, pvalue.AsSingleton]
Parts = dict[str, list[Any]]  # blocks that met under a key, by the name of their input
_Keyed = tuple[int, Any]


class Joined(NamedTuple):
    """Plays joined with the catalogue.

    Attributes:
        plays: (listener shard, PlaysWithVectors).
        audiences: (cold shard, Audiences).
        wanted: (listener shard, Request for listeners).
        truth: (cold shard, Audiences of validation songs).
        own_listeners: (cold shard, Pairs of new songs and who plays them already).
        counts: Dicts of counts.
    """

    plays: pvalue.PCollection[Any]
    audiences: pvalue.PCollection[Any]
    wanted: pvalue.PCollection[Any]
    truth: pvalue.PCollection[Any]
    own_listeners: pvalue.PCollection[Any]
    counts: pvalue.PCollection[Any]


class Vectors(NamedTuple):
    """Listener vectors.

    Attributes:
        answers: (cold shard, Listeners who were wanted).
        listeners: (listener shard, all its Listeners).
        counts: Dicts of counts.
    """

    answers: pvalue.PCollection[Any]
    listeners: pvalue.PCollection[Any]
    counts: pvalue.PCollection[Any]


def join_songs(blocks: Blocks, sizes: Sizes, config: TargetingConfig) -> Joined:
    """Brings plays, vectors and requests for audiences together by song.

    Args:
        blocks: Plays, catalogue and matches.
        sizes: Numbers of shards.
        config: Settings.
    """
    plays = blocks["plays"] | "PlaysBySong" >> beam.FlatMap(
        routing.plays_by_song, sizes["play_shards"]
    ).with_output_types(_Keyed)
    catalogue = blocks["catalogue"] | "VectorsBySong" >> beam.FlatMap(
        routing.rows_by, "ids", sizes["play_shards"]
    ).with_output_types(_Keyed)
    requests = blocks["matches"] | "MatchesBySong" >> beam.FlatMap(
        routing.audience_requests, sizes["play_shards"], sizes["song_shards"]
    ).with_output_types(_Keyed)
    outputs = (
        {"plays": plays, "catalogue": catalogue, "requests": requests}
        | "GroupBySong" >> beam.CoGroupByKey()
        | "JoinSongs"
        >> beam.ParDo(_JoinSongs(config), sizes["play_shards"], sizes["song_shards"]).with_outputs(*Joined._fields)
    )
    return Joined(*(outputs[name] for name in Joined._fields))


def form_vectors(blocks: Blocks, joined: Joined, sizes: Sizes, config: TargetingConfig) -> Vectors:
    """Forms the vectors of listeners, or takes them from the given table, and answers the requests for them.

    Args:
        blocks: Given listeners and exclusions, where there are any.
        joined: From `join_songs`.
        sizes: Numbers of shards.
        config: Settings.
    """
    parts = {"wanted": joined.wanted}
    if "listeners" in blocks:
        parts["table"] = blocks["listeners"] | "TableByListener" >> _by_listener(sizes)
    else:
        parts["plays"] = joined.plays
    if "exclusions" in blocks:
        everywhere = blocks["exclusions"] | "ExcludedEverywhere" >> beam.Map(routing.of_every_song).with_output_types(
            Any
        )
        parts["excluded"] = everywhere | "ExclusionsByListener" >> _by_listener(sizes)
    outputs = (
        parts
        | "GroupByListener" >> beam.CoGroupByKey()
        | "FormVectors" >> beam.ParDo(_FormVectors(config)).with_outputs(*Vectors._fields)
    )
    return Vectors(*(outputs[name] for name in Vectors._fields))


def _by_listener(sizes: Sizes) -> beam.PTransform[Any, Any]:
    return beam.FlatMap(routing.rows_by, "users", sizes["play_shards"]).with_output_types(_Keyed)


class _JoinSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig) -> None:
        self._config = config

    def process(
        self, element: tuple[int, Parts], play_shards: int, cold_shards: int
    ) -> Iterator[pvalue.TaggedOutput[Any, Any]]:
        _, parts = element
        config = self._config
        catalogue = Catalogue.merge(list(parts["catalogue"]))
        merged = Plays.merge(list(parts["plays"]))
        plays, counts = catalogue_join.usable_plays(merged, catalogue, config.listener_splits)
        if config.chooses_weight:
            for cold, truth in count_weight.validation_listeners(merged, catalogue, cold_shards, config):
                yield pvalue.TaggedOutput("truth", (cold, truth))
        for cold, pairs in catalogue_join.own_listeners(merged, catalogue, cold_shards):
            yield pvalue.TaggedOutput("own_listeners", (cold, pairs))
        for shard, part in catalogue_join.plays_by_listener(plays, catalogue, play_shards):
            yield pvalue.TaggedOutput("plays", (shard, part))
        table = audiences(plays, config.max_audience, config.seed)
        for cold, wanted in routing.unite_requests(parts["requests"]):
            found = requested_audiences(table, wanted)
            yield pvalue.TaggedOutput("audiences", (cold, found))
            for shard, rows in group_rows(shard_of(found.users, play_shards)):
                yield pvalue.TaggedOutput("wanted", (shard, Request(cold, found.users[rows])))
        counts["songs_in_catalogue"] = len(catalogue)
        yield pvalue.TaggedOutput("counts", counts)


class _FormVectors(beam.DoFn):
    def __init__(self, config: TargetingConfig) -> None:
        self._config = config

    def process(self, element: tuple[int, Parts]) -> Iterator[pvalue.TaggedOutput[Any, Any]]:
        shard, parts = element
        with one_thread():
            formed = self._listeners(parts)
        excluded = [part.users for part in parts.get("excluded", [])]
        everywhere = np.unique(np.concatenate(excluded)) if excluded else no_ids()
        table = Listeners(formed.users, formed.vectors, among(formed.users, everywhere))
        for cold, wanted in routing.unite_requests(parts["wanted"]):
            yield pvalue.TaggedOutput("answers", (cold, pick_listeners(table, wanted, everywhere)))
        yield pvalue.TaggedOutput("listeners", (shard, table))
        without = int((~table.vectors.any(axis=(1, 2))).sum())
        counts = {"listeners": len(table), "listeners_without_vector": without}
        counts["listeners_excluded"] = int(table.excluded.sum())
        counts["exclusions_of_unknown_listeners"] = len(everywhere) - counts["listeners_excluded"]
        yield pvalue.TaggedOutput("counts", counts)

    def _listeners(self, parts: Parts) -> Listeners:
        if "table" in parts:
            return given_listeners(list(parts["table"]))
        return listener_vectors(list(parts["plays"]), self._config.interests, self._config.seed)
