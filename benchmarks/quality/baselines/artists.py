"""The artist's other songs, weighed by how near their content is, beside what content says."""

from __future__ import annotations

import numpy as np

from benchmarks.quality.baselines.audiences import targets
from benchmarks.quality.baselines.kernel import RIDGE_SEARCH, ridge_of
from benchmarks.quality.closed_form import ARTIST
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import best_of

#: `sharpness`: of the attention, times the content's similarity; `shrinkage`: songs of the artist at which their mean
#: counts as much as content.
ATTENTION_SEARCH = Search(
    {
        "sharpness": (0.0, 1.0, 3.0, 10.0),
        "shrinkage": (0.0, 0.5, 1.0, 2.0, 4.0),
        "own_share": (0.0, 0.5, 1.0),
        "column_power": (0.0, 0.5, 1.0),
    },
    {"sharpness": 3.0, "shrinkage": 1.0, "own_share": 0.5, "column_power": 1.0},
)


def artist_attention(problem: Problem) -> Scorer:
    """Returns attention over the artist's songs of the settings that validation songs choose.

    In the manner of ACARec (Tamm et al., arXiv 2604.07090): a new song's content asks, the contents of the artist's
    songs answer, and their audiences are joined with what content predicts. Theirs is trained by gradients; here the
    attention is a softmax of the kernel, and the gate `n / (n + shrinkage)` of n songs takes the place of their GRU.
    """
    return best_of(problem, ATTENTION_SEARCH, lambda s: attention(problem, s))


def attention(problem: Problem, settings: Settings) -> Scorer:
    """Returns the attention of some settings."""
    chosen = dict(settings)
    ridge = ridge_of(problem)
    learnt = targets(problem, chosen["own_share"], chosen["column_power"])
    squared, strength = bool(RIDGE_SEARCH.start["squared"]), float(RIDGE_SEARCH.start["ridge"])

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        by_content = ridge.weights(songs, encoding, squared, strength)
        artists = encoding.features[ARTIST]
        same = (artists[songs][:, None] == artists[problem.warm][None, :]) & (artists[songs] > 0)[:, None]
        near = np.where(same, chosen["sharpness"] * ridge.content.kernel(songs, encoding), -np.inf)
        found = same.any(axis=1)
        attended = np.zeros_like(near)
        powers = np.exp(near[found] - near[found].max(axis=1, keepdims=True))
        attended[found] = powers / powers.sum(axis=1, keepdims=True)
        known = same.sum(axis=1, keepdims=True)
        gate = known / np.maximum(known + chosen["shrinkage"], 1e-6)
        return (gate * attended + (1 - gate) * by_content).astype(np.float32) @ learnt

    return score
