"""The weight of the count in `hybrid`, chosen on validation songs.

Songs of split `val` were held out of training and of listeners' vectors, but somebody plays them: for each weight the
targets of these songs are compared with their listeners, and the weight with most hits is used for every song.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfx_pipeline.contract.ids import among, id_array, lookup
from tfx_pipeline.runtime.settings_codec import from_values
from tfx_pipeline.targeting.beam.blocks import Block, group_rows, shard_of, take_plays
from tfx_pipeline.targeting.beam.listeners import audiences, requested_audiences
from tfx_pipeline.targeting.beam.shards import Shard
from tfx_pipeline.targeting.beam.songs import score_songs
from tfx_pipeline.targeting.config import TargetingConfig

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: Where no validation song has listeners: the best over the data sets that were measured.
FALLBACK = 0.05
_SONGS, _HITS = "validation_songs", "validation_hits_with_weight_{:g}"


def validation_listeners(
    plays: Block, catalogue: Block, cold_shards: int, config: TargetingConfig
) -> Iterator[tuple[int, Block]]:
    """Who plays the validation songs of a song shard, for each shard of cold songs that holds some of them."""
    position = lookup(plays["songs"], catalogue["ids"])
    held_out = (position >= 0) & (catalogue["split"][position] == b"val") if len(catalogue["ids"]) else position >= 0
    truth = take_plays(plays, np.flatnonzero(held_out[plays["song"]] & (plays["plays"] > 0)))
    table = audiences(truth, config.max_audience, config.seed)
    for cold, rows in group_rows(shard_of(truth["songs"], cold_shards)):
        yield cold, requested_audiences(table, truth["songs"][rows])


def count_hits(shard: Shard, truth: list[Block], config: TargetingConfig) -> dict[str, int]:
    """How many of the first `config.listeners_per_song` of each validation song play it, for every weight."""
    listeners = {song: users for block in truth for song, users in _by_song(block)}
    counts = {_SONGS: 0, **{_HITS.format(weight): 0 for weight in WEIGHTS}}
    plain = dataclasses.replace(config, count_weight=0.0, quota=False)
    for candidates in score_songs(shard, plain, id_array(sorted(listeners))):
        if candidates.scores is None or candidates.query is None:
            continue
        plays_it = among(shard.users[candidates.audience], listeners[candidates.song])
        log_count = np.log1p(candidates.scores.count / candidates.query.count_unit)
        counts[_SONGS] += 1
        for weight in WEIGHTS:
            score = (candidates.scores.vector + weight * log_count).astype(np.float32)
            first = np.argsort(-score, kind="stable")[: config.listeners_per_song]
            counts[_HITS.format(weight)] += int(plays_it[first].sum())
    return counts


def choose_weight(counts: dict[str, int]) -> float:
    """The weight of most hits, the smallest of equal ones."""
    if not counts.get(_SONGS):
        return FALLBACK
    return max(WEIGHTS, key=lambda weight: counts[_HITS.format(weight)])


def settled(marker: Mapping[str, Any]) -> TargetingConfig:
    """Returns the settings of a run that ended, with the weight that it chose, by its `_SUCCESS`."""
    config = from_values(TargetingConfig, marker["settings"], "_SUCCESS: settings")
    if config.count_weight != "auto":
        return config
    return dataclasses.replace(config, count_weight=choose_weight(marker["counts"]))


def _by_song(block: Block) -> Iterator[tuple[bytes, np.ndarray]]:
    ends = np.cumsum(block["kept"])
    for song, end, kept in zip(block["songs"].tolist(), ends.tolist(), block["kept"].tolist(), strict=True):
        yield song, block["users"][block["user"][end - kept : end]]
