"""The Beam steps that work on a shard of cold songs: score its audiences, then rank and finish."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.contract.ids import among
from tfx_pipeline.targeting.beam import count_weight, result_tables, routing
from tfx_pipeline.targeting.beam.candidates import SongQuery, score_songs
from tfx_pipeline.targeting.beam.cold_shard import Shard, ShardParts, make_shard
from tfx_pipeline.targeting.beam.joining import Blocks, Joined, Parts, Sizes, Vectors
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import one_thread

_Keyed = tuple[int, Any]


class Scored(NamedTuple):
    """Candidates, by shard of cold songs.

    Attributes:
        targets: (cold shard, table of candidates).
        summary: (cold shard, table with a row for each song).
        queries: (cold shard, list of SongQuery).
        counts: Dicts of counts.
    """

    targets: pvalue.PCollection[Any]
    summary: pvalue.PCollection[Any]
    queries: pvalue.PCollection[Any]
    counts: pvalue.PCollection[Any]


def score_audiences(blocks: Blocks, joined: Joined, vectors: Vectors, sizes: Sizes, config: TargetingConfig) -> Scored:
    """Scores the audience of each cold song.

    Args:
        blocks: Cold songs, matches, and exclusions where there are any.
        joined: From `join_songs`.
        vectors: From `form_vectors`.
        sizes: Numbers of shards.
        config: Settings.
    """
    shards = sizes["song_shards"]
    parts = {"audiences": joined.audiences, "listeners": vectors.answers, "own_listeners": joined.own_listeners}
    parts["catalogue"] = blocks["cold"] | "CatalogueByColdSong" >> beam.FlatMap(
        routing.rows_by, "ids", shards
    ).with_output_types(_Keyed)
    parts["matches"] = blocks["matches"] | "MatchesByColdSong" >> beam.FlatMap(
        routing.matches_by_song, shards
    ).with_output_types(_Keyed)
    if "exclusions" in blocks:
        of_songs = blocks["exclusions"] | "ExcludedFromSongs" >> beam.Map(routing.of_one_song).with_output_types(Any)
        parts["pairs"] = of_songs | "PairsByColdSong" >> beam.FlatMap(
            routing.rows_by, "songs", shards
        ).with_output_types(_Keyed)
    if not config.chooses_weight:
        outputs = _grouped(parts) | "ScoreSongs" >> beam.ParDo(_ScoreSongs(config)).with_outputs(*Scored._fields)
        return Scored(*(outputs[name] for name in Scored._fields))
    grouped = _grouped({**parts, "truth": joined.truth})
    hits = grouped | "CountHits" >> beam.Map(_count_hits, config).with_output_types(Any)
    summed = hits | "SumHits" >> beam.CombineGlobally(routing.add_counts)
    weight = pvalue.AsSingleton(summed | "ChooseWeight" >> beam.Map(count_weight.choose_weight))
    outputs = grouped | "ScoreSongs" >> beam.ParDo(_ScoreSongs(config), weight).with_outputs(*Scored._fields)
    scored = Scored(*(outputs[name] for name in Scored._fields))
    return scored._replace(counts=(scored.counts, hits) | "CountsAndHits" >> beam.Flatten())


def finish_songs(
    targets: pvalue.PCollection[Any], summary: pvalue.PCollection[Any], config: TargetingConfig
) -> tuple[pvalue.PCollection[Any], pvalue.PCollection[Any]]:
    """Ranks the candidates of each song for good, sets the random share aside and completes the summary.

    Args:
        targets: (cold shard, table of candidates).
        summary: (cold shard, table with a row for each song).
        config: Settings.

    Returns:
        (cold shard, targets) and (cold shard, summary).
    """
    outputs = (
        {"targets": targets, "summary": summary}
        | "GroupResults" >> beam.CoGroupByKey()
        | "Finish" >> beam.ParDo(_Finish(config)).with_outputs("targets", "summary")
    )
    return outputs["targets"], outputs["summary"]


def _grouped(parts: Blocks) -> pvalue.PCollection[Any]:
    return parts | "GroupByColdSong" >> beam.CoGroupByKey()


def _count_hits(element: tuple[int, Parts], config: TargetingConfig) -> dict[str, int]:
    _, parts = element
    with one_thread():
        return count_weight.count_hits(_shard(parts, config), list(parts["truth"]), config)


def _shard(parts: Parts, config: TargetingConfig) -> Shard:
    catalogue, matches, audiences, listeners, pairs, own_listeners = (
        list(parts.get(name, []))
        for name in ("catalogue", "matches", "audiences", "listeners", "pairs", "own_listeners")
    )
    return make_shard(ShardParts(catalogue, matches, audiences, listeners, pairs + own_listeners), config)


class _ScoreSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig) -> None:
        self._config = config

    def process(
        self, element: tuple[int, Parts], weight: float | None = None
    ) -> Iterator[pvalue.TaggedOutput[Any, Any]]:
        cold, parts = element
        config = self._config if weight is None else dataclasses.replace(self._config, count_weight=weight)
        with one_thread():
            shard = _shard(parts, config)
            found, summary, queries = self._score(shard, config)
        yield pvalue.TaggedOutput("targets", (cold, found))
        yield pvalue.TaggedOutput("summary", (cold, summary))
        if queries:
            yield pvalue.TaggedOutput("queries", (cold, queries))
        unknown = ~among(shard.pairs.songs, shard.catalogue.ids)
        counts = {
            "cold_songs": summary.num_rows,
            "songs_with_matches": len(shard.matches.songs),
            "exclusions_of_unknown_songs": int(unknown.sum()),
        }
        yield pvalue.TaggedOutput("counts", counts)

    def _score(self, shard: Shard, config: TargetingConfig) -> tuple[pa.Table, pa.Table, list[SongQuery]]:
        rows, found, queries = [], [result_tables.TARGETS.empty_table()], []
        for candidates in score_songs(shard, config):
            rows.append(result_tables.summary_row(candidates))
            if candidates.scores is not None:
                found.append(result_tables.candidates_table(shard, candidates, config))
            # A query without a direction is as near to anybody as to the next.
            if candidates.query is not None and candidates.query.centers.any() and config.reach == "expand":
                queries.append(SongQuery(candidates.song, candidates.split, candidates.query, candidates.excluded))
        # One chunk per column: a table of hundreds of chunks takes longer to pickle than to make.
        return (
            pa.concat_tables(found).combine_chunks(),
            pa.Table.from_pylist(rows, schema=result_tables.SUMMARY),
            queries,
        )


class _Finish(beam.DoFn):
    def __init__(self, config: TargetingConfig) -> None:
        self._config = config

    def process(self, element: tuple[int, dict[str, list[pa.Table]]]) -> Iterator[pvalue.TaggedOutput[Any, Any]]:
        cold, parts = element
        found = pa.concat_tables([result_tables.TARGETS.empty_table(), *parts["targets"]])
        targets, summary = result_tables.finish(found, pa.concat_tables(list(parts["summary"])), self._config)
        yield pvalue.TaggedOutput("targets", (cold, targets))
        yield pvalue.TaggedOutput("summary", (cold, summary))
