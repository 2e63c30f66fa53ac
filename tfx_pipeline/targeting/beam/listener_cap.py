"""The cap per listener: at most so many songs for one listener, over all cold songs of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam import pvalue

from tfx_pipeline.columnar.arrow import encode_ids
from tfx_pipeline.columnar.hashing import shard_of, shards_for
from tfx_pipeline.columnar.rows import Array, group_rows
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.targeting.beam import result_tables
from tfx_pipeline.targeting.config import TargetingConfig

_ROWS_PER_SHARD = 500_000
ROUNDS = 8


def cap_listeners(
    targets: pvalue.PCollection[Any], song_shards: pvalue.AsSingleton, config: TargetingConfig
) -> pvalue.PCollection[Any]:
    """Leaves each listener the `config.cap` songs of highest score, ties by song id.

    Deferred acceptance (Gale and Shapley 1962), `ROUNDS` rounds of it. Each song proposes to its best
    `config.listeners_per_song`. Listeners keep the best songs that propose and refuse the others. A song that was
    refused proposes to its next candidates. So only songs whose target a listener becomes count towards the listener's
    cap. Songs enter with `config.depth` candidates; the summary shows those that still end with fewer targets than
    asked.

    The default of `config.cap` for a service is `NEW_SONGS_PER_LISTENER`, in `tfx_pipeline.targeting.config`.

    Args:
        targets: (cold shard, candidates).
        song_shards: Number of shards of cold songs.
        config: Settings.

    Returns:
        (cold shard, targets).
    """
    for number in range(1, ROUNDS + 1):
        refusals = _proposed(targets, song_shards, config, f"Round{number}") | f"Refuse{number}" >> beam.ParDo(
            Answer(config.cap, accepted=False)
        ).with_output_types(tuple[int, Any])
        targets = (
            {"candidates": targets, "refusals": refusals}
            | f"GroupRefusals{number}" >> beam.CoGroupByKey()
            | f"DropRefused{number}" >> beam.FlatMap(without_refused).with_output_types(tuple[int, Any])
        )
    return _proposed(targets, song_shards, config, "Last") | "Accept" >> beam.ParDo(
        Answer(config.cap, accepted=True)
    ).with_output_types(tuple[int, Any])


def _proposed(
    targets: pvalue.PCollection[Any], song_shards: pvalue.AsSingleton, config: TargetingConfig, name: str
) -> pvalue.PCollection[Any]:
    return (
        targets
        | f"Propose{name}" >> beam.FlatMap(by_listener, song_shards, config).with_output_types(tuple[int, Any])
        | f"GroupByListener{name}" >> beam.GroupByKey()
    )


def first_songs(candidates: pa.Table, most: int) -> Array:
    """Returns the rows of each listener's `most` songs of highest score, ascending.

    Args:
        candidates: Table of candidates.
        most: Songs for each listener.
    """
    users, songs = result_tables.codes(candidates[USER_ID]), result_tables.codes(candidates[SONG_ID])
    order = np.lexsort((songs, -candidates["score"].to_numpy(), users))
    place = np.arange(len(order)) - np.searchsorted(users[order], users[order])
    return np.sort(order[place < most])


class Answer(beam.DoFn):
    """Answers the songs that propose to listeners, by shard of cold songs.

    Args:
        cap: Most songs for each listener.
        accepted: Whether to put out the accepted proposals, or those that are refused.
    """

    def __init__(self, cap: int | None, *, accepted: bool) -> None:
        self._cap, self._accepted = cap or 0, accepted

    def process(self, element: tuple[int, Any]) -> Iterator[tuple[int, pa.Table]]:
        """Yields (cold shard, proposals) that are accepted, or refused.

        Args:
            element: (listener shard, list of (cold shard, proposals)).
        """
        _, parts = element
        parts = list(parts)
        cold = np.concatenate([np.full(table.num_rows, shard) for shard, table in parts])
        proposals = pa.concat_tables([table for _, table in parts])
        answered = first_songs(proposals, self._cap)
        if not self._accepted:
            answered = np.setdiff1d(np.arange(proposals.num_rows), answered)
        for shard, rows in group_rows(cold[answered]):
            yield shard, proposals.take(pa.array(answered[rows]))


def without_refused(element: tuple[int, dict[str, Any]]) -> Iterator[tuple[int, pa.Table]]:
    """Yields the candidates of a shard of cold songs without those that were refused.

    Args:
        element: (cold shard, {candidates, refusals}).
    """
    cold, parts = element
    refused = [_pairs(table) for table in parts["refusals"]]
    for table in parts["candidates"]:
        left = pc.invert(pc.is_in(_pairs(table), value_set=pa.concat_arrays(refused))) if refused else None
        yield cold, table if left is None else table.filter(left)


def _pairs(table: pa.Table) -> pa.Array:
    joined = pc.binary_join_element_wise(table[SONG_ID], table[USER_ID], "\0")
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def by_listener(
    element: tuple[int, pa.Table], song_shards: int, config: TargetingConfig
) -> Iterator[tuple[int, tuple[int, pa.Table]]]:
    """Yields the first `config.listeners_per_song` candidates of each song, for each shard of listeners.

    Args:
        element: (cold shard, table of candidates).
        song_shards: Number of shards of cold songs.
        config: Settings.
    """
    cold, table = element
    if table.num_rows:
        first = result_tables.rank_within_songs(table, config.listeners_per_song)
        rows_in_all = song_shards * config.songs_per_shard * config.listeners_per_song
        shard = shard_of(encode_ids(first[USER_ID], USER_ID), shards_for(rows_in_all, _ROWS_PER_SHARD))
        for key, rows in group_rows(shard):
            yield key, (cold, first.take(pa.array(rows)))
