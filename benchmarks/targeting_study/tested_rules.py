"""The rules that are measured, by group. Each name says what differs from the group's base."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.targeting import TargetingConfig
from tfx_pipeline.targeting.config import Algorithm

CLUSTERS = (1, 2, 4, 8, 16, 32)
WEIGHTS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
MATCHES = (10, 20, 50, 100, 200)
ALGORITHMS: tuple[Algorithm, ...] = ("spherical", "kmeans", "minibatch", "bisecting", "agglomerative")

Rules = dict[str, TargetingConfig]


def _rule(**settings: Any) -> TargetingConfig:
    return TargetingConfig(**{"listeners_per_song": 200, **settings})


def basic() -> Rules:
    """Every rule as it is, inside the audience and over all listeners."""
    rules = {name: _rule(rule=name) for name in ("count", "average", "song")}
    rules |= {f"{name}, expand": _rule(rule=name, reach="expand") for name in ("average", "song")}
    rules |= {f"hybrid {part}": _rule(rule="hybrid", hybrid_with=part) for part in ("average", "song", "cat")}
    rules |= {"hybrid song, expand": _rule(rule="hybrid", hybrid_with="song", reach="expand")}
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
    roles = {
        f"cat {role} K={k}": _rule(song_role=role, clusters=k) for role in ("members", "centroids") for k in (8, 32)
    }
    roles |= {f"cat listeners x{w:g} K=8": _rule(song_role="listeners", song_weight=w) for w in (1.0, 3.0)}
    roles |= {f"cat {j} interests": _rule(interests=j) for j in (2, 4)}
    roles |= {f"song {j} interests": _rule(rule="song", interests=j) for j in (2, 4)}
    joined = {"rule": "hybrid", "hybrid_with": "cat"}
    roles |= {"cat quota": _rule(quota=True), "hybrid cat quota": _rule(quota=True, **joined)}
    roles |= {
        f"hybrid cat {role} K=8": _rule(song_role=role, **joined) for role in ("members", "centroids", "listeners")
    }
    return roles


def matches() -> Rules:
    """The number of similar songs."""
    rules = {f"count n={n}": _rule(rule="count", matches_per_song=n) for n in MATCHES}
    rules |= {f"cat K=8 n={n}": _rule(rule="cat", matches_per_song=n) for n in MATCHES}
    rules |= {f"hybrid song n={n}": _rule(rule="hybrid", matches_per_song=n) for n in MATCHES}
    return rules


def weights() -> Rules:
    """What validation songs choose from: the vector part of `hybrid`, the weight of the count, similar songs."""
    rules = {f"count n={n}": _rule(rule="count", matches_per_song=n) for n in MATCHES[2:]}
    for part in ("song", "average"):
        for weight in WEIGHTS:
            for n in MATCHES[2:]:
                config = _rule(rule="hybrid", hybrid_with=part, count_weight=weight, matches_per_song=n)
                rules[f"hybrid {part} w={weight:g} n={n}"] = config
    for role in ("none", "members", "listeners"):
        for weight in WEIGHTS[2:5]:
            config = _rule(rule="hybrid", hybrid_with="cat", song_role=role, count_weight=weight, matches_per_song=100)
            rules[f"hybrid cat {role} w={weight:g} n=100"] = config
    return rules


GROUPS = {
    "basic": basic,
    "clusters": clusters,
    "algorithms": algorithms,
    "song in cat": song_in_cat,
    "matches": matches,
    "weights": weights,
}
