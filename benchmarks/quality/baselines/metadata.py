"""MARec: EASE whose columns of songs of few plays are aligned with similarities of their metadata."""

from __future__ import annotations

import functools
from functools import cached_property

import numpy as np
from scipy import linalg, sparse

from benchmarks.quality.baselines.audiences import LISTENERS, OF_WEIGHTS, predicted_audience, with_rule
from benchmarks.quality.baselines.side_information import BY_AUDIENCE, BY_WEIGHT, play_products
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import best_of

#: `ridge`: lambda; `beta`: strength of the alignment of a song that nobody plays; `percentile`: songs with more plays
#: than this share of the songs are not aligned; `smoothing`: added to the product of the lengths in a cosine.
MAREC_SEARCH = Search(
    {
        "ridge": (3.0, 10.0, 30.0, 100.0, 300.0),
        "beta": (1.0, 10.0, 100.0),
        "percentile": (10, 30),
        "smoothing": (0.0, 1.0, 4.0),
        "similar": (BY_AUDIENCE, BY_WEIGHT),
        "listeners": LISTENERS,
    },
    {
        "ridge": 30.0,
        "beta": 1.0,
        "percentile": 10,
        "smoothing": 1.0,
        "similar": BY_AUDIENCE,
        "listeners": OF_WEIGHTS,
    },
)
#: In the regression that weighs the fields a song that was not played counts as this part of one that was.
NOT_PLAYED = 0.2
_USERS = 200


def marec(problem: Problem) -> Scorer:
    """Returns MARec with EASE of the settings that validation songs choose.

    Source: Monteil et al., arXiv 2404.13298, from its summary and a public re-implementation of its equations 8 and 9,
    not checked with the authors' code.
    """
    values = MAREC_SEARCH.space["smoothing"]
    known = {smoothing: functools.cache(lambda s=smoothing: Metadata(problem, s)) for smoothing in values}
    return best_of(
        problem, MAREC_SEARCH, lambda settings: aligned(problem, settings, known[dict(settings)["smoothing"]]())
    )


def aligned(problem: Problem, settings: Settings, metadata: Metadata) -> Scorer:
    """Returns MARec of some settings; `metadata` has their smoothing.

    The columns of B are `(X^T X + X^T Y D + ridge I)^-1 (X^T X + X^T Y D)` with a zero diagonal, where Y = X G are
    plays predicted by metadata similarity G, and D falls from beta at no plays to 0 at the percentile. A song without
    plays adds nothing to the other columns; its own column is then `beta (X^T X + X^T Y D + ridge I)^-1 X^T X g`.
    """
    chosen = dict(settings)
    products = play_products(problem)
    plays = np.diagonal(products)
    limit = max(float(np.percentile(plays, chosen["percentile"])), 1.0)
    strength = chosen["beta"] * np.maximum(limit - plays, 0.0) / limit
    regular, few = products.copy(), np.flatnonzero(strength)
    regular[:, few] += products @ (metadata.of_warm[:, few] * strength[few].astype(np.float32))
    regular.flat[:: len(regular) + 1] += np.float32(chosen["ridge"])
    factor = linalg.lu_factor(regular, overwrite_a=True, check_finite=False)

    def weights(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        near = chosen["beta"] * metadata.kernel(songs, encoding)
        return linalg.lu_solve(factor, products @ near.T, check_finite=False).T

    def similar(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        found = weights(songs, encoding)
        return predicted_audience(problem, found) if chosen["similar"] == BY_AUDIENCE else found

    return with_rule(problem, similar, weights, chosen["listeners"])


class Metadata:
    """Similarities of each block of content, `f.g / (|f| |g| + smoothing)`, and by how much each block counts.

    Lengths are roots of the numbers of values: with smoothing a song of which a block knows little is similar to few.
    """

    def __init__(self, problem: Problem, smoothing: float) -> None:
        self.problem, self.smoothing = problem, smoothing
        self._warm = problem.encoding.blocks(problem.warm)
        self._lengths = {name: np.sqrt(block.getnnz(axis=1)) for name, block in self._warm.items()}
        self.weights = self._field_weights()

    def kernel(self, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Returns (songs, warm) float32, the weighted sum over the blocks."""
        total = np.zeros((len(songs), len(self.problem.warm)), np.float32)
        for name, block in encoding.blocks(songs).items():
            total += np.float32(self.weights[name]) * self._similarity(block, name)
        return total

    @cached_property
    def of_warm(self) -> np.ndarray:
        """(warm, warm) float32, the weighted sum of warm songs with each other, 0 on the diagonal."""
        found = self.kernel(self.problem.warm, self.problem.encoding)
        np.fill_diagonal(found, 0.0)
        return found

    def _similarity(self, block: sparse.csr_matrix, name: str) -> np.ndarray:
        cosines = np.asarray((block @ self._warm[name].T).todense(), np.float32)
        if not self.smoothing:
            return cosines
        lengths = np.sqrt(block.getnnz(axis=1))[:, None] * self._lengths[name][None, :]
        return cosines * (lengths / (lengths + self.smoothing)).astype(np.float32)

    def _field_weights(self) -> dict[str, float]:
        """Returns each block's weight: plays regressed on what its similarities predict, X on X G and a constant.

        Over drawn users, because the regression has a row for each pair of user and song.
        """
        users = np.random.default_rng(self.problem.seed).permutation(self.problem.plays.shape[1])[:_USERS]
        played = np.asarray(self.problem.plays[:, np.sort(users)].todense(), np.float32).T
        columns = [self._predicted(played, name) for name in self._warm] + [np.ones_like(played)]
        weights = np.where(played > 0, 1.0, NOT_PLAYED).astype(np.float32)
        left = np.array([[np.vdot(weights * a, b) for b in columns] for a in columns])
        right = np.array([np.vdot(weights * a, played) for a in columns])
        solved = np.linalg.lstsq(left, right, rcond=None)[0]
        return dict(zip(self._warm, solved[:-1].tolist(), strict=True))

    def _predicted(self, played: np.ndarray, name: str) -> np.ndarray:
        similarity = self._similarity(self._warm[name], name)
        np.fill_diagonal(similarity, 0.0)
        return played @ similarity
