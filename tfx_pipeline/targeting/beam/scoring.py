"""The Beam steps that work on a shard of cold songs: score its audiences, then rank and finish."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.contract.ids import among
from tfx_pipeline.targeting.beam import routing, shards, songs, tables, weights
from tfx_pipeline.targeting.beam.joining import Blocks, Joined, Parts, Sizes, Vectors
from tfx_pipeline.targeting.config import TargetingConfig
from tfx_pipeline.targeting.rules.clustering import one_thread

_SHARD_PARTS = ("catalogue", "matches", "audiences", "listeners", "pairs")


class Scored(NamedTuple):
    """Candidates, by shard of cold songs."""

    targets: beam.PCollection  # (cold shard, table)
    summary: beam.PCollection  # (cold shard, table)
    queries: beam.PCollection  # (cold shard, list of SongQuery)
    counts: beam.PCollection


def score_songs(blocks: Blocks, joined: Joined, vectors: Vectors, sizes: Sizes, config: TargetingConfig) -> Scored:
    """Scores the audience of each cold song."""
    parts = {"audiences": joined.audiences, "listeners": vectors.answers, "heard": joined.heard}
    keyed = {"catalogue": (blocks["cold"], "ids"), "matches": (blocks["matches"], "songs")}
    if "exclusions" in blocks:
        pairs = blocks["exclusions"] | "ExcludedFromSongs" >> beam.Map(
            routing.where_song_empty, False
        ).with_output_types(Any)
        keyed["pairs"] = (pairs, "songs")
    for name, (collection, column) in keyed.items():
        split = routing.matches_by if name == "matches" else routing.rows_by
        parts[name] = collection | f"{name.title()}ByColdSong" >> beam.FlatMap(
            split,
            column,
            sizes["song_shards"],
        ).with_output_types(tuple[int, Any])
    if not config.chooses_weight:
        outputs = _grouped(parts) | "ScoreSongs" >> beam.ParDo(_ScoreSongs(config)).with_outputs(*Scored._fields)
        return Scored(*(outputs[name] for name in Scored._fields))
    grouped = _grouped({**parts, "truth": joined.truth})
    hits = grouped | "CountHits" >> beam.Map(_count_hits, config).with_output_types(Any)
    summed = hits | "SumHits" >> beam.CombineGlobally(routing.add_counts)
    weight = pvalue.AsSingleton(summed | "ChooseWeight" >> beam.Map(weights.choose_weight))
    outputs = grouped | "ScoreSongs" >> beam.ParDo(_ScoreSongs(config), weight).with_outputs(*Scored._fields)
    scored = Scored(*(outputs[name] for name in Scored._fields))
    return scored._replace(counts=(scored.counts, hits) | "CountsAndHits" >> beam.Flatten())


def finish_songs(
    targets: beam.PCollection, summary: beam.PCollection, config: TargetingConfig
) -> tuple[beam.PCollection, beam.PCollection]:
    """Ranks the candidates of each song for good, sets the random share aside and completes the summary."""
    outputs = (
        {"targets": targets, "summary": summary}
        | "GroupResults" >> beam.CoGroupByKey()
        | "Finish" >> beam.ParDo(_Finish(config)).with_outputs("targets", "summary")
    )
    return outputs["targets"], outputs["summary"]


def _grouped(parts: Blocks) -> beam.PCollection:
    return parts | "GroupByColdSong" >> beam.CoGroupByKey()


def _count_hits(element: tuple[int, Parts], config: TargetingConfig) -> dict[str, int]:
    _, parts = element
    with one_thread():
        return weights.count_hits(_shard(parts, config), list(parts["truth"]), config)


def _shard(parts: Parts, config: TargetingConfig) -> shards.Shard:
    of_shard = {name: list(parts.get(name, [])) for name in _SHARD_PARTS}
    of_shard["pairs"] += parts["heard"]
    return shards.make_shard(of_shard, config)


class _ScoreSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, Parts], weight: Any = None) -> Iterator[Any]:
        cold, parts = element
        config = self._config if weight is None else dataclasses.replace(self._config, count_weight=weight)
        with one_thread():
            shard = _shard(parts, config)
            found, summary, queries = self._score(shard, config)
        yield pvalue.TaggedOutput("targets", (cold, found))
        yield pvalue.TaggedOutput("summary", (cold, summary))
        if queries:
            yield pvalue.TaggedOutput("queries", (cold, queries))
        unknown = ~among(shard.pairs["songs"], shard.catalogue["ids"])
        counts = {
            "cold_songs": summary.num_rows,
            "songs_with_matches": len(shard.matches["songs"]),
            "exclusions_of_unknown_songs": int(unknown.sum()),
        }
        yield pvalue.TaggedOutput("counts", counts)

    def _score(self, shard: shards.Shard, config: TargetingConfig) -> tuple[pa.Table, pa.Table, list[songs.SongQuery]]:
        rows, found, queries = [], [tables.TARGETS.empty_table()], []
        for candidates in songs.score_songs(shard, config):
            rows.append(tables.summary_row(candidates))
            if candidates.scores is not None:
                found.append(tables.candidates_table(shard, candidates, config))
            # A query without a direction is as near to anybody as to the next.
            if candidates.query is not None and candidates.query.centers.any() and config.reach == "expand":
                queries.append(
                    songs.SongQuery(candidates.song, candidates.split, candidates.query, candidates.excluded)
                )
        # One chunk per column: a table of hundreds of chunks takes longer to pickle than to make.
        return pa.concat_tables(found).combine_chunks(), pa.Table.from_pylist(rows, schema=tables.SUMMARY), queries


class _Finish(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, dict[str, list[pa.Table]]]) -> Iterator[Any]:
        cold, parts = element
        found = pa.concat_tables([tables.TARGETS.empty_table(), *parts["targets"]])
        targets, summary = tables.finish(found, pa.concat_tables(list(parts["summary"])), self._config)
        yield pvalue.TaggedOutput("targets", (cold, targets))
        yield pvalue.TaggedOutput("summary", (cold, summary))
