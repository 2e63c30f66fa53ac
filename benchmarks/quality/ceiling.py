"""How much of the truth can be known at all: what one half of an audience says of the other, and what follows.

A song's listeners are a sample of those who would like it, so its 20 most similar songs are partly chance. For each
test song the listeners are drawn into two halves; each half gives its own 20 most similar songs.

- **Split half**, r: recall@50 of one half's songs by the similarities of the other half. A model that knew another
  audience, half as large as the song's own, would reach it where the truth is of half an audience, too.
- **Lower end** of the bracket: the square root of r, which the law itself reaches for a truth of half an audience.
- **Estimate**: the square root of 2 r / (1 + r), the same where the truth is of the whole audience (Spearman, Brown).
- **Upper end**: recall@50 of the whole audience's songs by the similarities of a half, which is a part of the whole, so
  that they have their chance in common.
The theory is that of correlations, and recall is none. On simulated catalogues, where the law is known, the law's
recall lies between the ends, and within .07 of the estimate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from bcl_keras.fields import Array
from benchmarks.quality.metrics import MAIN, as_truth, metrics_of
from benchmarks.quality.problem import TRUTH_SIZES, Problem
from benchmarks.quality.slices import by_listeners
from tfx_pipeline.contract.splits import TEST

#: Times that audiences are drawn into halves.
HALVINGS = 3
_BLOCK = 512


def ceiling(problem: Problem) -> dict[str, Any]:
    """Returns figures of the test songs.

    Returns:
        `split half`, `lower`, `estimate` and `upper` as above; `slices`: split half and estimate by the listeners of
        the song; `one listener`: the share of the truth's songs that share a single listener with their test song.
    """
    test = problem.cold(TEST)
    draws = [split_half(problem, test, problem.seed + 1_000 * draw) for draw in range(HALVINGS)]
    half, of_whole = (np.mean(parts, axis=0) for parts in zip(*draws, strict=True))
    slices = by_listeners(np.diff(problem.heard(test).indptr))
    known = {name: half[chosen] for name, chosen in slices.items() if (~np.isnan(half[chosen])).any()}
    reached = float(np.nanmean(half))
    return {
        "songs": len(test),
        "split half": reached,
        "lower": reached**0.5,
        "estimate": law(reached),
        "upper": float(np.nanmean(of_whole)),
        "one listener": shared_once(problem, test),
        "slices": {name: _slice(values) for name, values in known.items()},
    }


def law(split_half_recall: float) -> float:
    """Returns the recall that the law of the listeners would reach, from the split-half recall."""
    return float(np.sqrt(2 * split_half_recall / (1 + split_half_recall)))


def split_half(problem: Problem, songs: Array, seed: int) -> tuple[Array, Array]:
    """Returns two recalls@50 of each song by half of its audience: of the other half's truth, of the whole's.

    Each is the mean over both halves; NaN where a half shares no song with a candidate.
    """
    found = []
    for start in range(0, len(songs), _BLOCK):
        whole = problem.heard(songs[start : start + _BLOCK])
        first, second = halves(whole, seed + start)
        other = (_recall(problem, first, second) + _recall(problem, second, first)) / 2
        found.append((other, (_recall(problem, first, whole) + _recall(problem, second, whole)) / 2))
    other, of_whole = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return other, of_whole


def halves(audiences: sparse.csr_matrix, seed: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Returns two matrices of the same shape; each row's listeners are drawn into them, as many into each, to one."""
    generator, row = np.random.default_rng(seed), np.repeat(np.arange(audiences.shape[0]), np.diff(audiences.indptr))
    order = np.lexsort((generator.random(audiences.nnz), row))
    place = np.empty(audiences.nnz, int)
    place[order] = np.arange(audiences.nnz) - audiences.indptr[row[order]]
    odd = generator.integers(2, size=audiences.shape[0])  # which half gets one more
    first = (place + odd[row]) % 2 == 0
    one, other = (
        sparse.csr_matrix((audiences.data[kept], (row[kept], audiences.indices[kept])), shape=audiences.shape)
        for kept in (first, ~first)
    )
    return one, other


def shared_once(problem: Problem, songs: Array) -> float:
    """Returns the share of the truth's songs, of 20 for each test song, that have one listener in common with it."""
    once = known = 0
    for start in range(0, len(songs), _BLOCK):
        audiences = problem.heard(songs[start : start + _BLOCK])
        places = problem.most_similar(audiences)[:, : TRUTH_SIZES[0]]
        common = np.take_along_axis(np.asarray((audiences @ problem.plays.T).todense()), np.maximum(places, 0), axis=1)
        once, known = once + ((common == 1) & (places >= 0)).sum(), known + (places >= 0).sum()
    return float(once / max(1, known))


def _recall(problem: Problem, known: sparse.csr_matrix, wanted: sparse.csr_matrix) -> Array:
    truth = as_truth(problem.most_similar(wanted), len(problem.warm), TRUTH_SIZES[0])
    return metrics_of(problem.audience_cosines(known), truth)[MAIN]


def _slice(recalls: Array) -> dict[str, Any]:
    recall = float(np.nanmean(recalls))
    return {"songs": len(recalls), "split half": recall, "estimate": law(recall)}
