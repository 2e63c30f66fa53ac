"""From counts to figures: recall and precision with intervals, slices, and the simulated campaign."""

from __future__ import annotations

from typing import Any

import numpy as np

from bcl_keras.evaluation.bootstrap import ClusterBootstrap
from benchmarks.significance import permutation_test
from benchmarks.targeting_study.counts import CUTOFFS, KINDS, TRUE_TASTE, UNTARGETED, Judged

_PLAYED, _EFFECTIVE, _RED, _CHANCE = range(len(KINDS))
SLICED = CUTOFFS.index(100)
RANDOM = UNTARGETED[2]


def quality(judged: Judged) -> dict[str, Any]:
    """Recall and precision of every rule, with 95 % intervals, over all songs and by size of the audience."""
    bootstrap = ClusterBootstrap(judged.songs)
    edges = np.quantile(judged.audience, (1 / 3, 2 / 3)).astype(int).tolist()
    slices = np.searchsorted(edges, judged.audience, side="left")
    rules = {}
    for name, counts in judged.counts.items():
        recall = counts[:, :, _PLAYED] / judged.listeners[:, None]
        row: dict[str, Any] = {}
        for place, cutoff in enumerate(CUTOFFS):
            row[f"recall@{cutoff}"] = bootstrap.mean(recall[:, place])
            row[f"precision@{cutoff}"] = bootstrap.mean(counts[:, place, _PLAYED] / cutoff)
        row["recall@100 by audience"] = [float(recall[slices == part, SLICED].mean()) for part in range(3)]
        rules[name] = row
    return {"songs": len(judged.songs), "audience edges": edges, "rules": rules}


def campaign(judged: Judged, base: str, budget: int) -> dict[str, Any]:
    """Every rule gives each song to `budget` listeners.

    Args:
        judged: Counts.
        base: The rule that the others are compared with, beside random listeners of the similar songs.
        budget: One of `CUTOFFS`.

    Returns:
        By rule: effective plays per song, red rate of those, lift over `base` and over random similar-song listeners,
        each with its 95 % interval, and the p of the permutation test against `base`.
    """
    bootstrap = ClusterBootstrap(judged.songs)
    place = CUTOFFS.index(budget)
    one = np.ones(len(judged.songs))
    effective = {name: counts[:, place, _EFFECTIVE] for name, counts in judged.counts.items()}
    loved = any(counts[:, :, _RED].any() for counts in judged.counts.values())  # else the data does not tell
    rules = {}
    for name, counts in judged.counts.items():
        plays = effective[name]
        row: dict[str, Any] = {"effective plays per song": bootstrap.ratio(plays, one)}
        if loved:
            row["red rate"] = bootstrap.ratio(counts[:, place, _RED], plays)
        for rival in (base, RANDOM):
            lift = bootstrap.ratio(plays - effective[rival], effective[rival])
            row[f"lift over {rival}"] = lift
        row[f"p against {base}"] = permutation_test(plays, effective[base], judged.songs)
        if TRUE_TASTE in judged.counts:
            best = judged.counts[TRUE_TASTE][:, place, _CHANCE]
            row["share of true taste"] = bootstrap.ratio(counts[:, place, _CHANCE], best)
        rules[name] = row
    return {"songs": len(judged.songs), "budget": budget, "base": base, "rules": rules}
