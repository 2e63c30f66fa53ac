"""At most c songs per listener over all cold songs of a run."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam import pvalue

from tfx_pipeline.targeting import tables
from tfx_pipeline.targeting.blocks import encode_ids, group_rows, shard_of, shards_for
from tfx_pipeline.targeting.config import TargetingConfig

_ROWS_PER_SHARD = 500_000


def cap_listeners(
    targets: beam.PCollection, song_shards: pvalue.AsSingleton, config: TargetingConfig
) -> beam.PCollection:
    """Leaves each listener the `config.cap` songs of highest score, ties by song id.

    Songs enter with `config.depth` candidates, more than they need, so that most still find `config.listeners_per_song`
    after listeners were taken from them; the summary shows those that do not.

    Args:
        targets: (cold shard, candidates).
        song_shards: Number of shards of cold songs.

    Returns:
        (cold shard, candidates that remain).
    """
    return (
        targets
        | "CandidatesByListener" >> beam.FlatMap(_by_listener, song_shards, config).with_output_types(tuple[int, Any])
        | "GroupByCappedListener" >> beam.GroupByKey()
        | "Cap" >> beam.ParDo(_Cap(config.cap)).with_output_types(tuple[int, Any])
    )


def first_songs(candidates: pa.Table, most: int) -> np.ndarray:
    """Rows of each listener's `most` songs of highest score, ascending."""
    users, songs = tables.codes(candidates["user_id"]), tables.codes(candidates["song_id"])
    order = np.lexsort((songs, -candidates["score"].to_numpy(), users))
    place = np.arange(len(order)) - np.searchsorted(users[order], users[order])
    return np.sort(order[place < most])


class _Cap(beam.DoFn):
    def __init__(self, cap: int | None):
        self._cap = cap or 0

    def process(self, element: tuple[int, Any]) -> Iterator[tuple[int, pa.Table]]:
        _, parts = element
        parts = list(parts)
        cold = np.concatenate([np.full(table.num_rows, shard) for shard, table in parts])
        candidates = pa.concat_tables([table for _, table in parts])
        kept = first_songs(candidates, self._cap)
        for shard, rows in group_rows(cold[kept]):
            yield shard, candidates.take(pa.array(kept[rows]))


def _by_listener(
    element: tuple[int, pa.Table], song_shards: int, config: TargetingConfig
) -> Iterator[tuple[int, tuple[int, pa.Table]]]:
    cold, table = element
    if table.num_rows:
        candidates = song_shards * config.songs_per_shard * config.depth
        shard = shard_of(encode_ids(table["user_id"], "user_id"), shards_for(candidates, _ROWS_PER_SHARD))
        for key, rows in group_rows(shard):
            yield key, (cold, table.take(pa.array(rows)))
