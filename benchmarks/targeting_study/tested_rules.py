"""The rules that are measured, by group. Each name says what differs from the group's base."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.config import Algorithm, VectorRule

CLUSTERS = (1, 2, 4, 8, 16, 32)
WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MATCHES = (10, 20, 50, 100, 200)
ALGORITHMS: tuple[Algorithm, ...] = ("spherical", "kmeans", "minibatch", "bisecting", "agglomerative")

#: Weight of the count in `hybrid`, by its vector part: the best on validation songs.
CHOSEN_WEIGHTS: dict[VectorRule, float] = {"song": 0.05, "average": 1.0, "cat": 1.0}

Rules = dict[str, TargetingConfig]


def _rule(**settings: Any) -> TargetingConfig:
    return TargetingConfig(**{"listeners_per_song": 200, **settings})


def _hybrid(part: VectorRule, **settings: Any) -> TargetingConfig:
    return _rule(rule="hybrid", hybrid_with=part, count_weight=CHOSEN_WEIGHTS[part], **settings)


def basic() -> Rules:
    """Every rule as it is, inside the audience and over all listeners."""
    rules = {name: _rule(rule=name) for name in ("count", "average", "song")}
    rules |= {f"{name}, expand": _rule(rule=name, reach="expand") for name in ("average", "song")}
    rules |= {f"hybrid {part}": _hybrid(part) for part in CHOSEN_WEIGHTS}
    rules |= {"hybrid song, expand": _hybrid("song", reach="expand")}
    return rules


def clusters() -> Rules:
    """The paper's CAT: number of clusters, both readings."""
    rules = {f"cat K={k}": _rule(rule="cat", clusters=k) for k in (*CLUSTERS, "auto")}
    rules |= {f"cat K={k}, expand": _rule(rule="cat", clusters=k, reach="expand") for k in CLUSTERS}
    rules |= {f"cat K={k}, uniform members": _rule(rule="cat", clusters=k, members="uniform") for k in (8, 32)}
    rules |= {f"cat K=8, {pooling}": _rule(rule="cat", pooling=pooling) for pooling in ("logsumexp", "mean")}
    return rules


def algorithms() -> Rules:
    """Every algorithm with every number of clusters."""
    return {f"{a} K={k}": _rule(rule="cat", algorithm=a, clusters=k) for a in ALGORITHMS for k in CLUSTERS}


def song_in_cat() -> Rules:
    """CAT with the song's own vector, interests, quotas, and joined with the count."""
    roles = ("members", "centroids", "listeners")
    rules = {f"cat {role} K={k}": _rule(rule="cat", song_role=role, clusters=k) for role in roles for k in (8, 32)}
    rules |= {f"cat {role} x3 K=8": _rule(rule="cat", song_role=role, song_weight=3.0) for role in roles[1:]}
    rules |= {f"{rule} {j} interests": _rule(rule=rule, interests=j) for rule in ("cat", "song") for j in (2, 4)}
    rules |= {"cat quota": _rule(rule="cat", quota=True), "hybrid cat quota": _hybrid("cat", quota=True)}
    return {**rules, "hybrid cat members": _hybrid("cat", song_role="members"), "hybrid cat and song": cat_and_song()}


def cat_and_song() -> TargetingConfig:
    """The best with clusters on validation songs: cosine to the closest centroid + 3 x to the song + the log count."""
    config = {"hybrid_with": "cat", "song_role": "listeners", "song_weight": 3.0, "count_weight": 0.1}
    return _rule(rule="hybrid", **config)


def matches() -> Rules:
    """The number of similar songs."""
    rules = {f"count n={n}": _rule(rule="count", matches_per_song=n) for n in MATCHES}
    rules |= {f"cat K=8 n={n}": _rule(rule="cat", matches_per_song=n) for n in MATCHES}
    rules |= {f"hybrid song n={n}": _hybrid("song", matches_per_song=n) for n in MATCHES}
    return rules


def weights() -> Rules:
    """What validation songs choose from: the vector part of `hybrid`, the weight of the count, similar songs, reach."""
    rules = {f"count n={n}": _rule(rule="count", matches_per_song=n) for n in MATCHES[2:]}
    for reach, sizes in (("filter", MATCHES[2:]), ("expand", MATCHES[3:4])):
        for n in sizes:
            for w in WEIGHTS:
                config = _rule(rule="hybrid", reach=reach, count_weight=w, matches_per_song=n)
                rules[f"hybrid song w={w:g} n={n}" + (", expand" if reach == "expand" else "")] = config
    for part, role in (("average", "none"), ("cat", "none"), ("cat", "members"), ("cat", "listeners")):
        for w in WEIGHTS[3:]:
            config = _rule(rule="hybrid", hybrid_with=part, song_role=role, count_weight=w, song_weight=3.0)
            rules[f"hybrid {part} {role} w={w:g} n=50"] = config
    return rules


def campaign(chosen_weight: float) -> Rules:
    """The rules of the simulated campaign; `default` has the weight that validation songs of the same split chose."""
    rules = {"default": _rule(rule="hybrid", count_weight=chosen_weight), "hybrid song w=0.05": _hybrid("song")}
    rules |= {name: basic()[name] for name in ("count", "average", "song", "hybrid average", "hybrid cat")}
    return {**rules, "hybrid cat and song": cat_and_song(), "cat K=8": _rule(rule="cat", clusters=8)}


GROUPS = {
    "basic": basic,
    "clusters": clusters,
    "algorithms": algorithms,
    "song in cat": song_in_cat,
    "matches": matches,
    "weights": weights,
}
