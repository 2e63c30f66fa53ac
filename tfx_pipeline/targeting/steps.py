"""The Beam steps of `TargetListeners`: each sends blocks to shards and works on a shard at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.targeting import listeners, songs, tables
from tfx_pipeline.targeting.blocks import Array, Block, group_rows, shard_of, take, take_plays
from tfx_pipeline.targeting.clustering import one_thread
from tfx_pipeline.targeting.config import TargetingConfig

Blocks = dict[str, beam.PCollection]
Sizes = dict[str, pvalue.AsSingleton]
Parts = dict[str, list[Block]]


class Joined(NamedTuple):
    """Plays joined with the catalogue, by song shard."""

    plays: beam.PCollection  # (listener shard, plays block with vectors)
    audiences: beam.PCollection  # (cold shard, audiences block)
    wanted: beam.PCollection  # (listener shard, {cold, users})
    counts: beam.PCollection


class Vectors(NamedTuple):
    """Listener vectors, by listener shard."""

    answers: beam.PCollection  # (cold shard, {users, vectors, excluded})
    listeners: beam.PCollection  # (listener shard, {users, vectors, excluded})
    counts: beam.PCollection


class Scored(NamedTuple):
    """Candidates, by shard of cold songs."""

    targets: beam.PCollection  # (cold shard, table)
    summary: beam.PCollection  # (cold shard, table)
    queries: beam.PCollection  # (cold shard, list of SongQuery)
    counts: beam.PCollection


def join_songs(blocks: Blocks, sizes: Sizes, config: TargetingConfig) -> Joined:
    """Brings plays, vectors and requests for audiences together by song."""
    plays = blocks["plays"] | "PlaysBySong" >> beam.FlatMap(_plays_by_song, sizes["play_shards"]).with_output_types(
        tuple[int, Any]
    )
    catalogue = blocks["catalogue"] | "VectorsBySong" >> beam.FlatMap(
        _rows_by, "ids", sizes["play_shards"]
    ).with_output_types(tuple[int, Any])
    requests = blocks["matches"] | "MatchesBySong" >> beam.FlatMap(
        _requests, sizes["play_shards"], sizes["song_shards"]
    ).with_output_types(tuple[int, Any])
    outputs = (
        {"plays": plays, "catalogue": catalogue, "requests": requests}
        | "GroupBySong" >> beam.CoGroupByKey()
        | "JoinSongs" >> beam.ParDo(_JoinSongs(config), sizes["play_shards"]).with_outputs(*Joined._fields)
    )
    return Joined(*(outputs[name] for name in Joined._fields))


def form_vectors(blocks: Blocks, joined: Joined, sizes: Sizes, config: TargetingConfig) -> Vectors:
    """Forms the vectors of listeners, or takes them from the given table, and answers the requests for them."""
    parts = {"wanted": joined.wanted}
    if "listeners" in blocks:
        parts["table"] = blocks["listeners"] | "TableByListener" >> beam.FlatMap(
            _rows_by,
            "users",
            sizes["play_shards"],
        ).with_output_types(tuple[int, Any])
    else:
        parts["plays"] = joined.plays
    if "exclusions" in blocks:
        everywhere = blocks["exclusions"] | "ExcludedEverywhere" >> beam.Map(_where_song_empty, True).with_output_types(
            Any
        )
        parts["excluded"] = everywhere | "ExclusionsByListener" >> beam.FlatMap(
            _rows_by,
            "users",
            sizes["play_shards"],
        ).with_output_types(tuple[int, Any])
    outputs = (
        parts
        | "GroupByListener" >> beam.CoGroupByKey()
        | "FormVectors" >> beam.ParDo(_FormVectors(config)).with_outputs(*Vectors._fields)
    )
    return Vectors(*(outputs[name] for name in Vectors._fields))


def score_songs(blocks: Blocks, joined: Joined, vectors: Vectors, sizes: Sizes, config: TargetingConfig) -> Scored:
    """Scores the audience of each cold song."""
    parts = {"audiences": joined.audiences, "listeners": vectors.answers}
    keyed = {"catalogue": (blocks["cold"], "ids"), "matches": (blocks["matches"], "songs")}
    if "exclusions" in blocks:
        pairs = blocks["exclusions"] | "ExcludedFromSongs" >> beam.Map(_where_song_empty, False).with_output_types(Any)
        keyed["pairs"] = (pairs, "songs")
    for name, (collection, column) in keyed.items():
        split = _matches_by if name == "matches" else _rows_by
        parts[name] = collection | f"{name.title()}ByColdSong" >> beam.FlatMap(
            split,
            column,
            sizes["song_shards"],
        ).with_output_types(tuple[int, Any])
    outputs = (
        parts
        | "GroupByColdSong" >> beam.CoGroupByKey()
        | "ScoreSongs" >> beam.ParDo(_ScoreSongs(config)).with_outputs(*Scored._fields)
    )
    return Scored(*(outputs[name] for name in Scored._fields))


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


class _JoinSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, Parts], shards: int) -> Iterator[Any]:
        _, parts = element
        catalogue = listeners.merge_catalogue(list(parts["catalogue"]))
        plays, counts = listeners.usable_plays(list(parts["plays"]), catalogue, self._config.listener_splits)
        for shard, part in listeners.plays_by_listener(plays, catalogue, shards):
            yield pvalue.TaggedOutput("plays", (shard, part))
        table = listeners.audiences(plays, self._config.max_audience, self._config.seed)
        for cold, wanted in _by_cold_shard(parts["requests"]):
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
        table["excluded"] = np.isin(table["users"], np.concatenate(excluded)) if excluded else _falses(table)
        for cold, wanted in _by_cold_shard(parts["wanted"], "users"):
            yield pvalue.TaggedOutput("answers", (cold, listeners.pick(table, wanted, excluded)))
        yield pvalue.TaggedOutput("listeners", (key, table))
        without = int((~table["vectors"].any(axis=(1, 2))).sum())
        counts = {"listeners": len(table["users"]), "listeners_without_vector": without}
        yield pvalue.TaggedOutput("counts", {**counts, "listeners_excluded": int(table["excluded"].sum())})

    def _table(self, parts: Parts) -> Block:
        if "table" in parts:
            return listeners.merge_listeners(list(parts["table"]))
        return listeners.listener_vectors(list(parts["plays"]), self._config.interests, self._config.seed)


class _ScoreSongs(beam.DoFn):
    def __init__(self, config: TargetingConfig):
        self._config = config

    def process(self, element: tuple[int, Parts]) -> Iterator[Any]:
        cold, parts = element
        with one_thread():
            shard = songs.make_shard({name: list(parts.get(name, [])) for name in _SHARD_PARTS}, self._config)
            found, summary, queries = self._score(shard)
        yield pvalue.TaggedOutput("targets", (cold, found))
        yield pvalue.TaggedOutput("summary", (cold, summary))
        if queries:
            yield pvalue.TaggedOutput("queries", (cold, queries))
        counts = {"cold_songs": summary.num_rows, "songs_with_matches": len(shard.matches["songs"])}
        yield pvalue.TaggedOutput("counts", counts)

    def _score(self, shard: songs.Shard) -> tuple[pa.Table, pa.Table, list[songs.SongQuery]]:
        rows, found, queries = [], [tables.TARGETS.empty_table()], []
        for candidates in songs.score_songs(shard, self._config):
            rows.append(tables.summary_row(candidates))
            if candidates.scores is not None:
                found.append(tables.candidates_table(shard, candidates, self._config))
            if candidates.query is not None and self._config.reach == "expand":
                queries.append(songs.SongQuery(candidates.song, candidates.query, candidates.excluded))
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


_SHARD_PARTS = ("catalogue", "matches", "audiences", "listeners", "pairs")


def _plays_by_song(block: Block, shards: int) -> Iterator[tuple[int, Block]]:
    shard = shard_of(block["songs"], shards)
    for key, chosen in group_rows(shard[block["song"]]):
        yield key, take_plays(block, chosen)


def _rows_by(block: Block, column: str, shards: int) -> Iterator[tuple[int, Block]]:
    for key, chosen in group_rows(shard_of(block[column], shards)):
        yield key, take(block, chosen)


def _matches_by(block: Block, column: str, shards: int) -> Iterator[tuple[int, Block]]:
    start = np.cumsum(block["size"]) - block["size"]
    for key, chosen in group_rows(shard_of(block[column], shards)):
        body = listeners.ranges(start[chosen], block["size"][chosen])
        heads = {name: block[name][chosen] for name in ("songs", "given", "bad", "size")}
        yield key, {**heads, "match": block["match"][body], "score": block["score"][body]}


def _requests(block: Block, play_shards: int, cold_shards: int) -> Iterator[tuple[int, Block]]:
    """Asks the song shards for the audiences that each shard of cold songs needs."""
    cold_shard = np.repeat(shard_of(block["songs"], cold_shards), block["size"])
    for key, rows in group_rows(cold_shard):
        wanted = np.unique(block["match"][rows])
        for shard, chosen in group_rows(shard_of(wanted, play_shards)):
            yield shard, {"cold": np.array([key]), "songs": wanted[chosen]}


def _by_cold_shard(requests: list[Block], column: str = "songs") -> Iterator[tuple[int, Array]]:
    """Unites requests of one shard of cold songs, so that each id is answered once."""
    wanted: dict[int, list[Array]] = {}
    for request in requests:
        wanted.setdefault(int(request["cold"][0]), []).append(request[column])
    for cold in sorted(wanted):
        yield cold, np.unique(np.concatenate(wanted[cold]))


def _where_song_empty(block: Block, empty: bool) -> Block:
    return take(block, np.flatnonzero((block["songs"] == b"") == empty))


def _falses(table: Block) -> Array:
    return np.zeros(len(table["users"]), dtype=bool)
