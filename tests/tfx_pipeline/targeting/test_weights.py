"""The weight of the count that validation songs choose, against loops over the whole ranking of another run."""

import numpy as np
import pytest

from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.beam.count_weight import FALLBACK, WEIGHTS, choose_weight

NAME = "validation_hits_with_weight_{:g}"


def test_validation_songs_choose_the_weight(world, run, run_world):
    every = run_world(TargetingConfig(rule="hybrid", count_weight=0.3, listeners_per_song=90)).targets
    validation = [row["song_id"] for row in world.matches[:6]]
    rankings = {song: [row for row in every if row["song_id"] == song] for song in validation}
    # Their listeners are those of the largest counts: a large weight finds most of them.
    listeners = {
        song: {row["user_id"] for row in sorted(rows, key=lambda row: -row["part_count"])[:12]}
        for song, rows in rankings.items()
    }
    unit = {row["song_id"]: max(row["match_scores"]) for row in world.matches}
    expected = dict.fromkeys(WEIGHTS, 0)
    for song, rows in rankings.items():
        for weight in WEIGHTS:
            score = [-(row["part_vector"] + weight * np.log1p(row["part_count"] / unit[song])) for row in rows]
            first = sorted(zip(score, [row["user_id"] for row in rows], strict=True))[:15]
            expected[weight] += len({user for _, user in first} & listeners[song])
    catalogue = [{**row, "split": "val"} if row["song_id"] in validation else row for row in world.catalogue]
    held_out = [{"user_id": user, "song_id": song, "plays": 3} for song in validation for user in listeners[song]]
    config = TargetingConfig(
        rule="hybrid", target_splits=("new", "val"), listeners_per_song=15, songs_per_shard=5, plays_per_shard=200
    )
    result = run(config, catalogue=catalogue, matches=world.matches, plays=world.plays + held_out)

    counts = result.marker["counts"]
    assert counts["validation_songs"] == 6 and counts["pairs_of_other_splits"] == len(held_out)
    assert {weight: counts[NAME.format(weight)] for weight in WEIGHTS} == expected
    chosen = max(WEIGHTS, key=lambda weight: expected[weight])
    assert chosen > FALLBACK
    for row in result.targets:  # of every song, not only of those that chose
        log_count = np.log1p(row["part_count"] / unit[row["song_id"]])
        assert row["score"] == pytest.approx(row["part_vector"] + chosen * log_count, abs=1e-5)
    assert len({row["song_id"] for row in result.targets}) == len(world.matches)


def test_equal_weights_give_the_smallest_and_no_song_the_fallback():
    hits = {NAME.format(weight): 5 for weight in WEIGHTS}
    assert choose_weight({"validation_songs": 2, **hits}) == WEIGHTS[0]
    assert choose_weight({"validation_songs": 2, **hits, NAME.format(0.2): 6}) == 0.2
    assert choose_weight({"validation_songs": 0, **dict.fromkeys(hits, 0)}) == choose_weight({}) == FALLBACK
