"""What weights over the warm songs say: the audience similarities, and the listeners, of a song made of those songs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners

#: (songs, encoding) -> (songs, warm songs), by how much each warm song stands for a song.
Weights = Callable[[np.ndarray, Encoding], np.ndarray]
#: How listeners are ranked: by the matches, as every row without a rule of its own, or by the sum of weighted plays.
OF_MATCHES, OF_WEIGHTS = "matches", "weights"
LISTENERS = (OF_MATCHES, OF_WEIGHTS)


def targets(problem: Problem, own_share: float, power: float) -> np.ndarray:
    """Returns the audience similarities that are predicted, `(S + own_share I) D^-power`, (warm, warm) float32.

    D has the lengths of the columns. With power 1 a popular song is not favoured for its larger similarities. The own
    share makes a song a part of its own audience.
    """
    joined = problem.similarity.copy()
    joined.flat[:: len(joined) + 1] += own_share
    lengths = np.maximum(np.linalg.norm(joined, axis=0), 1e-6)
    return joined * lengths.astype(np.float32) ** -power


def with_rule(problem: Problem, similar: Scorer, weights: Weights, rule: str) -> Scorer:
    """Returns a scorer of similar songs that ranks listeners by `rule`, one of `LISTENERS`."""
    if rule == OF_MATCHES:
        return similar
    return WithListeners(similar, lambda songs, encoding: weights(songs, encoding).astype(np.float32) @ problem.plays)


def predicted_audience(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Returns (songs, warm): each warm audience's cosine, up to a factor per song, with the weighted sum of audiences.

    The products of warm audiences are their cosines times both lengths, so no matrix of users is needed.
    """
    lengths = np.sqrt(np.asarray(problem.plays.sum(axis=1)).ravel()).astype(np.float32)
    scaled = weights.astype(np.float32) * lengths
    return scaled @ problem.similarity + scaled
