"""`TargetListeners`: cold songs, their matches and plays in, target listeners out, on any Beam runner."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sized
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue

from tfx_pipeline.columnar.gathering import ToTables
from tfx_pipeline.columnar.hashing import shards_for
from tfx_pipeline.contract.splits import WARM
from tfx_pipeline.targeting.beam import expansion, input_tables, joining, listener_cap, routing, scoring
from tfx_pipeline.targeting.beam.blocks import Catalogue
from tfx_pipeline.targeting.config import TargetingConfig


class Targeting(NamedTuple):
    """What `TargetListeners` returns.

    Attributes:
        targets: PCollection of (shard, Arrow table with the columns of `result_tables.TARGETS`). Each song is in one
            table.
        summary: PCollection of (shard, Arrow table with the columns of `result_tables.SUMMARY`), one row per song of
            `config.target_splits`.
        totals: PCollection of one dict of the run's counts: what came in, what was left out and why.
    """

    targets: pvalue.PCollection[Any]
    summary: pvalue.PCollection[Any]
    totals: pvalue.PCollection[Any]


class TargetListeners(beam.PTransform[Any, Any]):
    """Finds target listeners for every cold song.

    Input, a dict of PCollections whose elements are rows (dicts) or Arrow tables:
        catalogue: song_id, split, embedding, candidate_embedding. Songs of split `warm` are matched to. Songs of
            `config.target_splits`, by default the new ones, get targets.
        matches: song_id, match_ids, match_scores; at most one row per cold song.
        plays: user_id, song_id, plays (optional, 1). Plays of held-out songs may be among them and are not used. A
            listener who plays a new song is not a target of it.
        listeners (optional): user_id, embedding; replaces the vectors formed from plays.
        exclusions (optional): user_id, song_id; a null song_id excludes the listener from every song.

    Returns:
        A `Targeting`. The same targets come out on every runner, whatever the order and bundling of the input.

    Memory of a worker is bounded by the shard sizes of the config: a shard of cold songs holds `songs_per_shard`
    songs with audiences of at most `max_audience` listeners; a shard of plays about `plays_per_shard` plays, or those
    of its most played song if they are more, with the vectors of just the songs in them. Only the numbers of shards
    travel as side input. `expand` sends the listeners' vectors to every shard of cold songs, bytes that grow as
    listeners times cold songs: give such runs large `songs_per_shard`.

    Example:
        ```
        config = TargetingConfig(rule="cat", clusters=8)
        found = {"catalogue": catalogue, "matches": matches, "plays": plays} | TargetListeners(config)
        found | WriteTargets("targets", config)
        ```
    """

    def __init__(self, config: TargetingConfig | None = None) -> None:
        super().__init__()
        self._config = config or TargetingConfig()

    def expand(self, inputs: Any) -> Any:  # Beam takes closer hints for those of elements
        """Adds the steps to the pipeline."""
        config = self._config
        blocks = _pack(inputs, config)
        blocks["cold"] = blocks["catalogue"] | "ColdSongs" >> beam.Map(_cold).with_output_types(Any)
        counted = [name for name in _ROWS if name in blocks]
        rows = [blocks[name] | f"Count {name}" >> beam.Map(_rows, name).with_output_types(Any) for name in counted]
        totals = rows | "AllRows" >> beam.Flatten() | "CountRows" >> beam.CombineGlobally(routing.add_counts)
        shards = totals | "ChooseShards" >> beam.Map(choose_shards, config).with_output_types(Any)
        sizes = {
            kind: pvalue.AsSingleton(shards | f"Number of {kind}" >> beam.Map(operator.itemgetter(kind)))
            for kind in ("play_shards", "song_shards")
        }
        joined = joining.join_songs(blocks, sizes, config)
        vectors = joining.form_vectors(blocks, joined, sizes, config)
        scored = scoring.score_audiences(blocks, joined, vectors, sizes, config)
        targets, summary = scored.targets, scored.summary
        if config.reach == "expand":
            targets = expansion.expand_reach(targets, scored.queries, vectors.listeners, sizes, config)
        if config.cap is not None:
            targets = listener_cap.cap_listeners(targets, sizes["song_shards"], config)
        targets, summary = scoring.finish_songs(targets, summary, config)
        counts = (totals, shards, joined.counts, vectors.counts, scored.counts)
        all_counts = counts | "Counts" >> beam.Flatten() | "SumCounts" >> beam.CombineGlobally(routing.add_counts)
        return Targeting(targets, summary, all_counts)


def choose_shards(rows: Mapping[str, int], config: TargetingConfig) -> dict[str, int]:
    """Returns the number of shards of plays (and listeners), and of cold songs, from the rows that came in.

    A cold song without matches takes its vector and no more, so a shard holds 16 times as many of those.

    Args:
        rows: Rows of each input, as plays_rows.
        config: Settings.
    """
    songs = max(rows.get("matches_rows", 0), rows.get("cold_rows", 0) // 16)
    return {
        "play_shards": shards_for(rows.get("plays_rows", 0), config.plays_per_shard),
        "song_shards": shards_for(songs, config.songs_per_shard),
    }


def _pack(inputs: dict[str, pvalue.PCollection[Any]], config: TargetingConfig) -> dict[str, pvalue.PCollection[Any]]:
    """Rows or tables to blocks, one PCollection per input; inputs that were not given are empty."""
    known = {
        "catalogue": (input_tables.CATALOGUE, input_tables.pack_catalogue, ()),
        "matches": (input_tables.MATCHES, input_tables.pack_matches, (config.matches_per_song,)),
        "plays": (input_tables.PLAYS, input_tables.pack_plays, ()),
        "listeners": (input_tables.LISTENERS, input_tables.pack_listeners, ()),
        "exclusions": (input_tables.EXCLUSIONS, input_tables.pack_exclusions, ()),
    }
    for name in ("catalogue", "matches", "plays"):
        if name not in inputs:
            raise ValueError(f"`inputs` must hold catalogue, matches and plays. Received: {sorted(inputs)}")
    for name in inputs:
        if name not in known:
            raise ValueError(f"`inputs` may hold {sorted(known)}. Received: {name!r}")
    packed = {}
    for name, (schema, pack, extra) in known.items():
        if name in inputs:
            packed[name] = (
                inputs[name]
                | f"Gather {name}" >> ToTables(schema)
                | f"Pack {name}" >> beam.Map(pack, *extra).with_output_types(Any)
            )
    return packed


def _cold(block: Catalogue) -> Catalogue:
    return block.take(block.split != WARM.encode())


#: The column that has an entry for each row of an input.
_ROWS: dict[str, Callable[[Any], Sized]] = {
    "plays": operator.attrgetter("counts"),
    "matches": operator.attrgetter("songs"),
    "cold": operator.attrgetter("ids"),
    "listeners": operator.attrgetter("users"),
    "exclusions": operator.attrgetter("users"),
}


def _rows(block: Any, name: str) -> dict[str, int]:
    return {f"{name}_rows": len(_ROWS[name](block))}
