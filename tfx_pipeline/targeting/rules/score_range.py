"""Between which numbers the scores of targets lie, by the rule that gives them."""

from __future__ import annotations

import math
from typing import Any

from tfx_pipeline.targeting.config import TargetingConfig

#: Of a match: the model's inner product of two vectors that are at most of length one.
MATCH = (-1.0, 1.0)


def score_range(config: TargetingConfig) -> tuple[float, float]:
    """Returns the least and the largest score that a target can have, up to rounding.

    `count` adds up scores of matches, at most 1 each. Vector rules are cosines, and what the song's role adds to them.
    `hybrid` adds `count_weight` times log(1 + count in units of the best match), and there are at most
    `matches_per_song` of these. Places that `quota` shares out have no upper end.

    Args:
        config: Settings, with a number as `count_weight` where the rule is `hybrid`.
    """
    if config.quota:
        return 0.0, math.inf
    if config.vector_rule is None:
        return 0.0, float(config.matches_per_song)
    adds = config.vector_rule == "cat" and config.song_role in ("centroids", "listeners")
    most = 1.0 + (config.song_weight if adds else 0.0)
    if config.rule != "hybrid":
        return -most, most
    return -most, most + float(config.count_weight) * math.log1p(config.matches_per_song)


def about_scores(config: TargetingConfig) -> dict[str, Any]:
    """Returns the entry on scores of a manifest: the weight of the count and both ranges; None means no upper end.

    Args:
        config: Settings, with a number as `count_weight` where the rule is `hybrid`.
    """
    least, most = score_range(config)
    return {
        "count_weight": config.count_weight,
        "match_scores": list(MATCH),
        "target_scores": [least, None if math.isinf(most) else most],
    }


def in_words(config: TargetingConfig) -> str:
    """Returns a sentence for people: what a score is, and its range.

    Args:
        config: Settings, with a number as `count_weight` where the rule is `hybrid`.
    """
    meanings = {
        "count": "the sum of the scores of the similar songs that the listener plays",
        "average": "the cosine of the listener's vector to the mean of the similar songs' audience",
        "song": "the cosine of the listener's vector to the song's",
        "cat": "the cosine of the listener's vector to the closest group of the similar songs' audience",
    }
    meaning = meanings["count" if config.vector_rule is None else config.vector_rule]
    if config.rule == "hybrid":
        meaning += f", plus {config.count_weight:g} times log(1 + n) of n similar songs that the listener plays"
    least, most = score_range(config)
    if math.isinf(most):
        return "A score is a place shared out among the groups of the audience: above 0, larger is better."
    return f"A score is {meaning}: from {least:g} to {most:.3g}."
