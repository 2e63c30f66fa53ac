"""The whole step on rows, against loops over dicts."""

import dataclasses
import math
import random

import numpy as np
import pytest

from tfx_pipeline.targeting import TargetingConfig


def listener_vectors(world):
    """The definition, one listener at a time: mean of unit vectors weighted by log(1 + plays), then length one."""
    vectors = {row["song_id"]: np.array(row["candidate_embedding"], float) for row in world.catalogue}
    result = {}
    for user in world.user_group:
        played = [row for row in world.plays if row["user_id"] == user]
        total = sum(math.log(1 + row["plays"]) * vectors[row["song_id"]] for row in played)
        result[user] = total / np.linalg.norm(total)
    return result


def audience_counts(world, song):
    """Listener -> sum of the scores of the matched songs they play."""
    (match,) = [row for row in world.matches if row["song_id"] == song]
    score = dict(zip(match["match_ids"], match["match_scores"], strict=True))
    counts: dict[str, float] = {}
    for row in world.plays:
        if row["song_id"] in score:
            counts[row["user_id"]] = counts.get(row["user_id"], 0.0) + max(0.0, score[row["song_id"]])
    return counts


def best_match(world, song):
    """The unit of the count in `hybrid`."""
    return max(max(row["match_scores"]) for row in world.matches if row["song_id"] == song)


def best(scores, most):
    return sorted(scores, key=lambda user: (-np.float32(scores[user]), user))[:most]


def rows_of(result):
    return [(row["song_id"], row["rank"], row["user_id"], row["score"], row["cluster"]) for row in result.targets]


def cold_songs(world):
    return [row["song_id"] for row in world.matches]


def test_count_average_song_and_hybrid_are_their_definitions(world, run_world):
    vectors = listener_vectors(world)
    song_vector = {row["song_id"]: np.array(row["embedding"], float) for row in world.catalogue}
    configs = {
        "count": TargetingConfig(rule="count", listeners_per_song=90),
        "average": TargetingConfig(rule="average", listeners_per_song=90),
        "song": TargetingConfig(rule="song", listeners_per_song=90),
        "hybrid": TargetingConfig(rule="hybrid", listeners_per_song=90, count_weight=0.3),
    }
    results = {rule: run_world(config) for rule, config in configs.items()}
    for song in cold_songs(world):
        counts = audience_counts(world, song)
        mean = sum(counts[user] * vectors[user] for user in counts)
        to_song = {user: float(vectors[user] @ song_vector[song]) for user in counts}
        expected = {
            "count": counts,
            "average": {user: float(vectors[user] @ mean / np.linalg.norm(mean)) for user in counts},
            "song": to_song,
            "hybrid": {
                user: to_song[user] + 0.3 * math.log(1 + counts[user] / best_match(world, song)) for user in counts
            },
        }
        for rule, scores in expected.items():
            found = [row for row in results[rule].targets if row["song_id"] == song]
            assert [row["rank"] for row in found] == list(range(1, len(scores) + 1))
            for row, user in zip(found, best(scores, 90), strict=True):
                # Sums in another order may swap listeners whose scores differ in the last digits.
                assert row["score"] == pytest.approx(scores[user], abs=1e-5)
                assert row["score"] == pytest.approx(scores[row["user_id"]], abs=1e-5)
                assert row["part_count"] == pytest.approx(counts[row["user_id"]], abs=1e-5)
                vector = {"count": 0.0, "hybrid": to_song[row["user_id"]]}.get(rule, scores[row["user_id"]])
                assert row["part_vector"] == pytest.approx(vector, abs=1e-5)
                assert row["cluster"] == -1


def test_cat_finds_the_planted_taste_and_says_why(world, run_world):
    # Clusters alone cannot tell: the strangers of the audience form clusters of their own. The song's vector can.
    config = TargetingConfig(rule="cat", clusters=3, song_role="listeners", listeners_per_song=10, max_reasons=2)
    result = run_world(config)
    plays = {(row["user_id"], row["song_id"]) for row in world.plays}
    scores = {m["song_id"]: dict(zip(m["match_ids"], m["match_scores"], strict=True)) for m in world.matches}
    same_taste = []
    for row in result.targets:
        song, user = row["song_id"], row["user_id"]
        same_taste.append(world.user_group[user] == world.song_group[song])
        played = sorted((s for s in scores[song] if (user, s) in plays), key=lambda s: (-scores[song][s], s))
        assert row["reason_song_ids"] == played[:2]
        assert row["reason_scores"] == pytest.approx([scores[song][s] for s in played[:2]])
        assert (row["rule"], row["group"]) == ("cat", "target") and 0 <= row["cluster"] < 3
    assert np.mean(same_taste) > 0.9


def test_order_bundles_and_shards_change_nothing(world, run, run_world):
    config = TargetingConfig(rule="cat", clusters=3, listeners_per_song=25, max_audience=25, max_members=15)
    found = run_world(config)
    assert {row["targets"] for row in found.summary.values()} == {25}  # clusters of a sample rank everybody
    expected = rows_of(found)
    shuffled = random.Random(3)
    tables = {name: list(getattr(world, name)) for name in ("catalogue", "matches", "plays")}
    for rows in tables.values():
        shuffled.shuffle(rows)
    # A play split in two rows is the same play.
    first = tables["plays"][0]
    tables["plays"][0] = {**first, "plays": 1}
    tables["plays"].append({**first, "plays": first["plays"] - 1})
    result = run(dataclasses.replace(config, songs_per_shard=2, plays_per_shard=50), **tables)
    assert rows_of(result) == expected
    assert result.marker["counts"]["song_shards"] == 6 and result.marker["counts"]["play_shards"] == 15


def test_expand_is_the_best_of_all_listeners(world, run_world):
    vectors = listener_vectors(world)
    song_vector = {row["song_id"]: np.array(row["embedding"], float) for row in world.catalogue}
    config = TargetingConfig(rule="hybrid", count_weight=0.3, reach="expand", listeners_per_song=90)
    small = dataclasses.replace(config, songs_per_shard=3, plays_per_shard=200, listeners_at_once=7)
    result = run_world(config)
    in_blocks = run_world(dataclasses.replace(small, listeners_per_song=40))
    assert rows_of(in_blocks) == [row for row in rows_of(result) if row[1] <= 40]
    outside = 0
    for song in cold_songs(world):
        counts = audience_counts(world, song)
        scores = {
            user: float(vectors[user] @ song_vector[song])
            + 0.3 * math.log(1 + counts.get(user, 0.0) / best_match(world, song))
            for user in vectors
        }
        found = [row for row in result.targets if row["song_id"] == song]
        assert len({row["user_id"] for row in found}) == 90
        for row, user in zip(found, best(scores, 90), strict=True):
            assert row["score"] == pytest.approx(scores[user], abs=1e-5)
            assert row["score"] == pytest.approx(scores[row["user_id"]], abs=1e-5)
            assert bool(row["reason_song_ids"]) == (row["user_id"] in counts) and row["cluster"] == -1
        outside += sum(row["user_id"] not in counts for row in found)
    assert outside > 0


def test_expand_by_centroids_reaches_beyond_the_audience(world, run_world):
    filtered = run_world(TargetingConfig(rule="cat", clusters=3, listeners_per_song=90))
    expanded = run_world(TargetingConfig(rule="cat", clusters=3, listeners_per_song=90, reach="expand"))
    audience = {(row["song_id"], row["user_id"]): row["score"] for row in filtered.targets}
    everyone = {(row["song_id"], row["user_id"]): row["score"] for row in expanded.targets}
    assert len(everyone) == 90 * len(world.matches) > len(audience)
    assert {pair: everyone[pair] for pair in audience} == pytest.approx(audience)


def test_a_sampled_audience_keeps_counts_and_says_so(world, run_world):
    full = run_world(TargetingConfig(rule="count", listeners_per_song=90))
    some = run_world(TargetingConfig(rule="count", listeners_per_song=90, max_audience=12))
    counts = {(row["song_id"], row["user_id"]): row["part_count"] for row in full.targets}
    for row in some.targets:
        assert row["part_count"] == pytest.approx(counts[row["song_id"], row["user_id"]])
    for song, row in some.summary.items():
        true_size = full.summary[song]["audience"]
        assert not full.summary[song]["sampled"] and true_size == len(audience_counts(world, song))
        assert row["sampled"] and row["targets"] == row["scored"] == 12
        assert 0.3 * true_size < row["audience"] < 3 * true_size  # an estimate from 12 hashes


def test_held_out_plays_describe_nobody(world, run, run_world):
    config = TargetingConfig(rule="song", listeners_per_song=90)
    expected = rows_of(run_world(config))
    leaked = [{"user_id": user, "song_id": cold_songs(world)[0], "plays": 1000} for user in world.user_group]
    unknown = [{"user_id": "user000", "song_id": "nowhere", "plays": 5}]
    catalogue = [{**row, "split": row["split"].replace("new", "test")} for row in world.catalogue]
    config = dataclasses.replace(config, target_splits=("test",))
    result = run(config, catalogue=catalogue, matches=world.matches, plays=world.plays + leaked + unknown)
    assert rows_of(result) == expected
    counts = result.marker["counts"]
    assert counts["pairs_of_other_splits"] == 90 and counts["pairs_of_unknown_songs"] == 1
    assert counts["pairs_used"] == len(world.plays) and counts["plays_rows"] == len(world.plays) + 91


def test_a_given_listener_table_replaces_the_vectors(world, run_world):
    taste = np.eye(8, dtype=np.float32)
    table = [{"user_id": user, "embedding": (3 * taste[group]).tolist()} for user, group in world.user_group.items()]
    result = run_world(TargetingConfig(rule="song", listeners_per_song=90), listeners=table[1:])
    song_vector = {row["song_id"]: row["embedding"] for row in world.catalogue}
    for row in result.targets:
        known = row["user_id"] != table[0]["user_id"]
        expected = song_vector[row["song_id"]][world.user_group[row["user_id"]]] if known else 0.0
        assert row["score"] == pytest.approx(expected, abs=1e-6)
    assert sum(row["without_vector"] for row in result.summary.values()) > 0


def test_interests_follow_the_side_taste(world, run_world):
    """Each listener plays six songs of their taste and two of others: several interests let those two count."""
    one = run_world(TargetingConfig(rule="song", listeners_per_song=90))
    three = run_world(TargetingConfig(rule="song", listeners_per_song=90, interests=3))
    single = {(row["song_id"], row["user_id"]): row["score"] for row in one.targets}
    several = {(row["song_id"], row["user_id"]): row["score"] for row in three.targets}
    side = [p for p in single if world.user_group[p[1]] != world.song_group[p[0]]]
    assert np.mean([several[p] for p in side]) > np.mean([single[p] for p in side]) + 0.1
