"""The weight of the count in `hybrid`, chosen on validation songs.

Songs of split `val` were held out of training and of listeners' vectors, but somebody plays them. For each weight, the
targets of these songs are compared with their listeners. The weight with most hits is used for every song.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfx_pipeline.columnar.hashing import shard_of
from tfx_pipeline.columnar.rows import group_rows
from tfx_pipeline.contract.ids import Ids, among, id_array, lookup
from tfx_pipeline.contract.splits import VALIDATION
from tfx_pipeline.runtime.settings_codec import from_values
from tfx_pipeline.targeting.beam.audiences import audiences, requested_audiences
from tfx_pipeline.targeting.beam.blocks import Audiences, Catalogue, Plays
from tfx_pipeline.targeting.beam.candidates import score_songs
from tfx_pipeline.targeting.beam.cold_shard import Shard
from tfx_pipeline.targeting.config import TargetingConfig

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: Where no validation song has listeners: the best over the measured data sets.
FALLBACK = 0.05
_SONGS, _HITS = "validation_songs", "validation_hits_with_weight_{:g}"


def validation_listeners(
    plays: Plays, catalogue: Catalogue, cold_shards: int, config: TargetingConfig
) -> Iterator[tuple[int, Audiences]]:
    """Yields who plays validation songs, for each shard of cold songs that holds some of them.

    Args:
        plays: Merged plays.
        catalogue: The songs of the shard, sorted.
        cold_shards: Number of shards of cold songs.
        config: Settings.
    """
    position = lookup(plays.songs.ids, catalogue.ids)
    held_out = position >= 0
    held_out[held_out] = catalogue.split[position[held_out]] == VALIDATION.encode()
    truth = plays.take(held_out[plays.songs.codes] & (plays.counts > 0))
    table = audiences(truth, config.max_audience, config.seed)
    for cold, rows in group_rows(shard_of(truth.songs.ids, cold_shards)):
        yield cold, requested_audiences(table, truth.songs.ids[rows])


def count_hits(shard: Shard, truth: Sequence[Audiences], config: TargetingConfig) -> dict[str, int]:
    """Returns how many of the first `config.listeners_per_song` of the validation songs play them, for every weight.

    Args:
        shard: Cold songs, validation songs among them.
        truth: Who plays validation songs of the shard.
        config: Settings.
    """
    listeners = {song: users for block in truth for song, users in _by_song(block)}
    counts = {_SONGS: 0, **{_HITS.format(weight): 0 for weight in WEIGHTS}}
    plain = dataclasses.replace(config, count_weight=0.0, quota=False)
    for candidates in score_songs(shard, plain, id_array(sorted(listeners))):
        if candidates.scores is None or candidates.query is None:
            continue
        plays_it = among(shard.listeners.users[candidates.audience], listeners[candidates.song])
        log_count = np.log1p(candidates.scores.count / candidates.query.count_unit)
        counts[_SONGS] += 1
        for weight in WEIGHTS:
            score = (candidates.scores.vector + weight * log_count).astype(np.float32)
            first = np.argsort(-score, kind="stable")[: config.listeners_per_song]
            counts[_HITS.format(weight)] += int(plays_it[first].sum())
    return counts


def choose_weight(counts: dict[str, int]) -> float:
    """Returns the weight of most hits, the smallest of equal ones; `FALLBACK` without validation songs.

    Args:
        counts: Sums of what `count_hits` returns.
    """
    if not counts.get(_SONGS):
        return FALLBACK
    return max(WEIGHTS, key=lambda weight: counts[_HITS.format(weight)])


def settled(marker: Mapping[str, Any]) -> TargetingConfig:
    """Returns the settings of a finished run, with the weight that it chose.

    Args:
        marker: Content of its `_SUCCESS`.
    """
    config = from_values(TargetingConfig, marker["settings"], "_SUCCESS: settings")
    if config.count_weight != "auto":
        return config
    return dataclasses.replace(config, count_weight=choose_weight(marker["counts"]))


def _by_song(block: Audiences) -> Iterator[tuple[bytes, Ids]]:
    for song, start, kept in zip(block.songs.tolist(), block.start.tolist(), block.kept.tolist(), strict=True):
        yield song, block.users[block.user[start : start + kept]]
