"""Settings of the audience targeting step."""

import dataclasses
import math
from typing import Literal, TypeGuard, get_args

from tfx_pipeline.runtime.beam_options import has_workers

Rule = Literal["count", "average", "song", "cat", "hybrid"]
VectorRule = Literal["average", "song", "cat"]
Reach = Literal["filter", "expand"]
Algorithm = Literal["spherical", "kmeans", "minibatch", "bisecting", "agglomerative"]
Pooling = Literal["max", "logsumexp", "mean"]
SongRole = Literal["none", "members", "centroids", "listeners"]


#: `cap` of the pipeline. Without it, one listener of a public data set is among the best five of every sixth song.
NEW_SONGS_PER_LISTENER = 5


@dataclasses.dataclass(frozen=True)
class TargetingConfig:
    """Settings of the targeting. The default rule is the one that validation songs chose.

    Attributes:
        rule: How a listener is scored. `count`: sum of the scores of the matched songs they play. `average`: cosine
            to the mean of the audience. `song`: cosine to the cold song's own vector. `cat`: cosine to the closest
            centroid of the audience, which is the paper's clustering-based audience targeting. `hybrid`: the score of
            `hybrid_with` plus `count_weight` times log(1 + count / score of the best match).
        hybrid_with: The vector score that `hybrid` joins with the count.
        count_weight: Weight of the log count in `hybrid`. With "auto" validation songs choose it: their targets must
            hold as many as possible of the listeners who did play them.
        reach: `filter` (R1) ranks the audience of the matched songs; `expand` (R2) ranks all listeners.
        target_splits: Splits of the catalogue whose songs get targets. Songs of `val` and `test` are held out to judge
            the model, and their listeners are known. Name these splits to compare targets with listeners.
        listeners_per_song: Number of targets per song.
        matches_per_song: Number of similar songs used per cold song, the best ones of the matches given.
        algorithm: How the audience is clustered.
        clusters: Number K of clusters. "auto" takes the K of least BIC among 1, 2, 4, ... `max_clusters`.
        max_clusters: Largest K that "auto" tries.
        iterations: Most Lloyd iterations.
        members: Weight of a listener in the clustering: `similarity` is their count, `uniform` is 1.
        pooling: How a listener's cosines to the centroids become one score.
        temperature: Divides the cosines before `logsumexp`. The smaller it is, the more the closest centroid decides.
        song_role: Where the cold song's own vector enters `cat`. `none`: nowhere, as in the paper. `members`: each
            member's weight is multiplied by their cosine to the song, negative cosines as 0. `centroids`: the song's
            cosine is added to that of each centroid. `listeners`: it is added to the score of each listener.
        song_weight: Weight of what `song_role` adds to the `centroids` or the `listeners`.
        interests: Number of vectors per listener. 1 is the mean of what they play. With more, what they play is
            clustered into so many interests, and the closest one counts.
        quota: Whether the targets are filled from every cluster in proportion to its weight. It needs `cat`, or
            `hybrid` with it.
        listener_splits: Splits of the catalogue whose plays describe listeners. Plays of held-out songs never do.
        max_audience: Most listeners of an audience. If there are more, a sample is drawn by a hash of the listener.
        max_members: Most listeners that are clustered. If there are more, a sample by that hash is clustered, and all
            are ranked.
        threshold: Least score of a target. None for no bound.
        cap: Most songs per listener over all cold songs of the run. None for no bound, which is right for one campaign.
            A service that targets every night needs a bound, so the pipeline sets `NEW_SONGS_PER_LISTENER`.
        cap_depth: With `cap`, the number of candidates kept per song before capping, in multiples of
            `listeners_per_song`.
        held_aside: Share of each song's targets set aside at random, to measure what targeting brings.
        max_reasons: Most matched songs named as the reason of a target.
        songs_per_shard: Number of cold songs worked on together. It bounds the memory of a worker.
        plays_per_shard: Number of plays worked on together when listener vectors are formed. It bounds the memory of a
            worker.
        listeners_at_once: Number of listeners scored at once by `expand`.
        seed: Number from which sampling, clustering and holding aside are drawn. Change it for each campaign.
    """

    rule: Rule = "hybrid"
    hybrid_with: VectorRule = "song"
    count_weight: float | Literal["auto"] = "auto"
    reach: Reach = "filter"
    target_splits: tuple[str, ...] = ("new",)
    listeners_per_song: int = 100
    matches_per_song: int = 50
    algorithm: Algorithm = "spherical"
    clusters: int | Literal["auto"] = 8
    max_clusters: int = 32
    iterations: int = 20
    members: Literal["similarity", "uniform"] = "similarity"
    pooling: Pooling = "max"
    temperature: float = 0.1
    song_role: SongRole = "none"
    song_weight: float = 1.0
    interests: int = 1
    quota: bool = False
    listener_splits: tuple[str, ...] = ("warm",)
    max_audience: int = 20_000
    max_members: int = 5_000
    threshold: float | None = None
    cap: int | None = None
    cap_depth: int = 3
    held_aside: float = 0.0
    max_reasons: int = 5
    songs_per_shard: int = 256
    plays_per_shard: int = 200_000
    listeners_at_once: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.listener_splits, str) or not set(self.listener_splits) <= set(_LISTENER_SPLITS):
            raise ValueError(
                f"`listener_splits` must be a list of some of {list(_LISTENER_SPLITS)}: plays of held-out songs "
                f"describe nobody. Received: {self.listener_splits!r}"
            )
        if isinstance(self.target_splits, str) or not set(self.target_splits) <= set(_TARGET_SPLITS):
            raise ValueError(
                f"`target_splits` must be a list of some of {list(_TARGET_SPLITS)}: warm songs need no targets. "
                f"Received: {self.target_splits!r}"
            )
        object.__setattr__(self, "listener_splits", tuple(self.listener_splits))
        object.__setattr__(self, "target_splits", tuple(self.target_splits))
        _check_choices(self)
        _check_ranges(self)

    @property
    def vector_rule(self) -> VectorRule | None:
        """The rule that gives the vector part of the score; None for `count`."""
        if self.rule == "count":
            return None
        return self.hybrid_with if self.rule == "hybrid" else self.rule

    @property
    def chooses_weight(self) -> bool:
        """Whether validation songs choose the weight of the count."""
        return self.rule == "hybrid" and self.count_weight == "auto"

    @property
    def depth(self) -> int:
        """Candidates kept per song before the cap per listener is applied."""
        return self.listeners_per_song * (self.cap_depth if self.cap is not None else 1)


def pipeline_targeting() -> TargetingConfig:
    """Returns the settings of targeting in the pipeline, where they differ from the defaults of `TargetingConfig`.

    A listener gets at most `NEW_SONGS_PER_LISTENER` songs of a run. `benchmarks/targeting.py cap` measures the cost.

    The shards depend on the Beam engine that the environment names (`beam_options`). Several workers need many shards
    to share. This process alone keeps in memory all that it shuffles, so few and large shards are better: a song's
    vector goes to every shard of listeners who play it, and a listener's vector to every shard of cold songs whose
    matches they play (docs/results/speed-and-scale.md).
    """
    config = TargetingConfig(cap=NEW_SONGS_PER_LISTENER)
    if has_workers():
        return config
    return dataclasses.replace(config, songs_per_shard=8192, plays_per_shard=1_000_000)


_LISTENER_SPLITS = ("warm", "new")
_TARGET_SPLITS = ("new", "val", "test")
_CHOICES = {
    "rule": get_args(Rule),
    "hybrid_with": get_args(VectorRule),
    "reach": get_args(Reach),
    "algorithm": get_args(Algorithm),
    "members": ("similarity", "uniform"),
    "pooling": get_args(Pooling),
    "song_role": get_args(SongRole),
}
_AT_LEAST_ONE = (
    *(
        "listeners_per_song",
        "matches_per_song",
        "max_clusters",
        "iterations",
        "interests",
        "max_audience",
        "max_members",
        "cap",
        "cap_depth",
        "max_reasons",
    ),
    *("songs_per_shard", "plays_per_shard", "listeners_at_once"),
)


def _check_choices(config: TargetingConfig) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(config, name)
        if value not in choices:
            raise ValueError(f"`{name}` must be one of {list(choices)}. Received: {value!r}")
    if config.quota and config.vector_rule != "cat":
        raise ValueError(f"`quota` needs a rule with clusters: cat, or hybrid with cat. Received: rule={config.rule!r}")
    if config.quota and config.reach == "expand":
        raise ValueError("`quota` shares out the audience of the matches and needs reach 'filter'. Received: 'expand'")
    if config.quota and config.cap is not None:
        raise ValueError(
            "`cap` compares a listener's scores, and `quota` replaces scores by places in clusters: one of the two "
            f"must be off. Received: quota=True, cap={config.cap!r}"
        )
    if config.reach == "expand" and config.rule == "count":
        raise ValueError(
            "`rule` 'count' knows only listeners of the matches and needs reach 'filter'. Received: 'expand'"
        )


def _check_ranges(config: TargetingConfig) -> None:
    for name in _AT_LEAST_ONE:
        value = getattr(config, name)
        if value is None and name == "cap":
            continue
        if not _is_whole(value) or value < 1:
            raise ValueError(f"`{name}` must be a whole number of at least 1. Received: {value!r}")
    if config.clusters != "auto" and (not _is_whole(config.clusters) or config.clusters < 1):
        raise ValueError(f"`clusters` must be 'auto' or a whole number of at least 1. Received: {config.clusters!r}")
    if config.count_weight != "auto" and not _is_weight(config.count_weight):
        raise ValueError(
            f"`count_weight` must be 'auto', or finite and not negative. Received: {config.count_weight!r}"
        )
    if not _is_weight(config.song_weight):
        raise ValueError(f"`song_weight` must be finite and not negative. Received: {config.song_weight!r}")
    if not _is_weight(config.temperature) or config.temperature == 0:
        raise ValueError(f"`temperature` must be above 0. Received: {config.temperature!r}")
    if not _is_weight(config.held_aside) or config.held_aside >= 1:
        raise ValueError(f"`held_aside` must be at least 0 and below 1. Received: {config.held_aside!r}")
    if not _is_whole(config.seed):
        raise ValueError(f"`seed` must be a whole number. Received: {config.seed!r}")
    if config.threshold is not None and not _is_number(config.threshold):
        raise ValueError(f"`threshold` must be a number or None. Received: {config.threshold!r}")


def _is_weight(value: object) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
