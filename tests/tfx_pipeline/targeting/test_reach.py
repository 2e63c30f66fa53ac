"""Reach control: threshold, exclusions, cap per listener, held-aside share, quota."""

from collections import Counter

import pytest

from tfx_pipeline.targeting import TargetingConfig

# Runs that other tests ask for as well: the whole ranking of every song.
EVERYBODY = {
    "filter": TargetingConfig(rule="hybrid", count_weight=0.3, listeners_per_song=90),
    "expand": TargetingConfig(rule="hybrid", count_weight=0.3, reach="expand", listeners_per_song=90),
}

GROUPS = ("target", "held_aside")


def pairs(result):
    return [(row["song_id"], row["user_id"]) for row in result.targets]


def test_threshold(run_world):
    every = run_world(TargetingConfig(rule="song", listeners_per_song=90))
    best = sorted(max(row["score"] for row in every.targets if row["song_id"] == song) for song in every.summary)
    threshold = (best[3] + best[4]) / 2  # four songs have nobody above it
    some = run_world(TargetingConfig(rule="song", listeners_per_song=90, threshold=threshold))
    assert pairs(some) == [(r["song_id"], r["user_id"]) for r in every.targets if r["score"] >= threshold]
    assert Counter(row["status"] for row in some.summary.values()) == {"below the threshold": 4, "targeted": 8}


@pytest.mark.parametrize("reach", ["filter", "expand"])
def test_exclusions(world, run_world, reach):
    free = run_world(EVERYBODY[reach])
    song, closed = world.matches[0]["song_id"], world.matches[1]["song_id"]
    never, not_here = free.of(song)[0], free.of(song)[1]
    excluded = [{"user_id": never, "song_id": None}, {"user_id": not_here, "song_id": song}]
    excluded += [{"user_id": user, "song_id": closed} for user in world.user_group]
    excluded += [{"user_id": "unknown", "song_id": None}, {"user_id": "unknown", "song_id": song}]
    result = run_world(EVERYBODY[reach], exclusions=excluded)
    # Those who come next move up: nobody is lost but the excluded.
    barred = {(song, not_here)}
    assert pairs(result) == [
        pair for pair in pairs(free) if pair not in barred and pair[1] != never and pair[0] != closed
    ]
    assert [row["rank"] for row in result.targets if row["song_id"] == song] == list(range(1, len(result.of(song)) + 1))
    assert result.summary[closed]["status"] == "all excluded" and result.summary[closed]["targets"] == 0
    assert result.summary[song]["excluded"] == 2
    counts = result.marker["counts"]
    assert counts["listeners_excluded"] == 1 and counts["exclusions_rows"] == len(excluded)


@pytest.mark.parametrize("given", ["plays", "table"])
@pytest.mark.parametrize("reach", ["filter", "expand"])
def test_an_excluded_listener_has_no_row_whatever_else_is_asked(world, run_world, reach, given):
    """Neither as a target nor held aside, with a cap, and with vectors that somebody else formed."""
    song = world.matches[0]["song_id"]
    users = sorted(world.user_group)
    everywhere, here = set(users[::4]), set(users[1::4])
    excluded = [{"user_id": user, "song_id": None} for user in sorted(everywhere)]
    excluded += [{"user_id": user, "song_id": song} for user in sorted(here)]
    more = {}
    if given == "table":
        vectors = {row["song_id"]: row["embedding"] for row in world.catalogue}
        own = {row["user_id"]: vectors[row["song_id"]] for row in world.plays}
        more["listeners"] = [{"user_id": user, "embedding": own[user]} for user in users]
    config = TargetingConfig(
        rule="hybrid", count_weight=0.3, reach=reach, listeners_per_song=15, cap=3, held_aside=0.5, cap_depth=4
    )
    result = run_world(config, exclusions=excluded, **more)
    groups = {group: {row["user_id"] for row in result.targets if row["group"] == group} for group in GROUPS}
    assert all(groups.values()) and everywhere.isdisjoint(set.union(*groups.values()))
    assert result.of(song) and here.isdisjoint(result.of(song))
    assert max(Counter(row["user_id"] for row in result.targets).values()) <= 3


@pytest.mark.parametrize("reach", ["filter", "expand"])
@pytest.mark.parametrize(("most", "cap", "depth"), [(15, 3, 3), (6, 1, 3), (6, 1, 8)])
def test_cap_leaves_each_listener_their_best_songs(run_world, reach, most, cap, depth):
    settings = {"rule": "hybrid", "count_weight": 0.3, "reach": reach, "listeners_per_song": most, "songs_per_shard": 3}
    candidates: dict[str, list] = {}
    for row in run_world(EVERYBODY[reach]).targets:
        if row["rank"] <= most * depth:
            candidates.setdefault(row["song_id"], []).append(row)
    expected = accepted(candidates, most, cap)
    result = run_world(TargetingConfig(**settings, cap=cap, cap_depth=depth))
    for song in result.summary:
        assert result.of(song) == expected.get(song, [])
        assert [row["rank"] for row in result.targets if row["song_id"] == song] == list(
            range(1, len(result.of(song)) + 1)
        )
    assert max(Counter(row["user_id"] for row in result.targets).values()) == cap
    # No listener with a free place is among the candidates of a song with too few targets.
    busy = Counter(row["user_id"] for row in result.targets)
    for song, rows in candidates.items():
        free = [r["user_id"] for r in rows if busy[r["user_id"]] < cap and r["user_id"] not in result.of(song)]
        assert len(result.of(song)) == most or not free


def test_where_all_listeners_are_wanted_the_rounds_leave_few_open(run_world):
    """12 songs want 15 listeners each, and 80 listeners may be had twice: chains of refusals outlast the rounds."""
    candidates: dict[str, list] = {}
    for row in run_world(EVERYBODY["filter"]).targets:
        if row["rank"] <= 45:
            candidates.setdefault(row["song_id"], []).append(row)
    expected = sum(map(len, accepted(candidates, 15, 2).values()))
    config = TargetingConfig(rule="hybrid", count_weight=0.3, listeners_per_song=15, songs_per_shard=3, cap=2)
    found = Counter(row["user_id"] for row in run_world(config).targets)
    assert max(found.values()) == 2
    assert 0.97 * expected < found.total() <= expected


def accepted(candidates: dict[str, list], most: int, cap: int) -> dict[str, list]:
    """Deferred acceptance as its inventors tell it: one proposal at a time, until nobody has one to make."""
    held: dict[str, list] = {}
    next_of = dict.fromkeys(candidates, 0)
    has = dict.fromkeys(candidates, 0)
    while waiting := [s for s, rows in candidates.items() if has[s] < most and next_of[s] < len(rows)]:
        song = waiting[0]
        row = candidates[song][next_of[song]]
        next_of[song] += 1
        has[song] += 1
        proposals = held.setdefault(row["user_id"], [])
        proposals.append((-row["score"], song, row["rank"]))
        proposals.sort()
        for _, refused, _ in proposals[cap:]:
            has[refused] -= 1
        del proposals[cap:]
    by_song: dict[str, list] = {}
    for user, proposals in held.items():
        for _, song, rank in proposals:
            by_song.setdefault(song, []).append((rank, user))
    return {song: [user for _, user in sorted(found)] for song, found in by_song.items()}


def test_held_aside_is_random(run_world):
    """The same in every run and on every runner: see test_runners."""
    config = TargetingConfig(rule="hybrid", count_weight=0.3, listeners_per_song=30, held_aside=0.3, songs_per_shard=5)
    result = run_world(config)
    aside = [row for row in result.targets if row["group"] == "held_aside"]
    every = run_world(EVERYBODY["filter"])
    assert pairs(result) == [(row["song_id"], row["user_id"]) for row in every.targets if row["rank"] <= 30]
    assert 0.2 < len(aside) / len(result.targets) < 0.4
    # Not the worst ones: random means the ranks of both groups are alike.
    assert 0.7 < (sum(r["rank"] for r in aside) / len(aside)) / 15.5 < 1.3
    for song, row in result.summary.items():
        groups = Counter(r["group"] for r in result.targets if r["song_id"] == song)
        assert (row["targets"], row["held_aside"]) == (groups["target"], groups["held_aside"])


def test_quota_takes_from_every_cluster(run_world):
    plain = run_world(TargetingConfig(rule="cat", clusters=3, listeners_per_song=90))
    shared = run_world(TargetingConfig(rule="cat", clusters=3, listeners_per_song=12, quota=True))

    def spread(result):
        first = [row for row in result.targets if row["rank"] <= 12]
        return [len({r["cluster"] for r in first if r["song_id"] == song}) for song in result.summary]

    assert min(spread(shared)) >= 2 and sum(spread(shared)) > sum(spread(plain))
