"""Kernel ridge regression from content to audiences, with options that validation songs choose."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from bcl_keras.evaluation.choices import first_best
from benchmarks.quality.baselines.audiences import LISTENERS, OF_MATCHES, targets, with_rule
from benchmarks.quality.closed_form import content_of
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import trials_of, worth

#: Mean of the kernel's diagonal, so that ridges mean the same on every set, and the square is of the same size.
DIAGONAL = 1.3
#: `squared`: K + K * K instead of K; `neighbours`: share of the scores of a candidate's neighbours that it gets.
RIDGE_SEARCH = Search(
    {
        "squared": (True, False),
        "ridge": (1.0, 2.0, 4.0, 8.0),
        "own_share": (0.0, 0.5, 1.0),
        "column_power": (0.0, 0.5, 1.0),
        "neighbours": (0.0, 0.5, 1.0),
        "listeners": LISTENERS,
    },
    {
        "squared": True,
        "ridge": 2.0,
        "own_share": 0.5,
        "column_power": 1.0,
        "neighbours": 0.5,
        "listeners": OF_MATCHES,
    },
)


class KernelRidge:
    """The joined content's kernel, and its solution for one ridge at a time."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.content = problem, content_of(problem)
        self.scale = DIAGONAL / max(float(np.diagonal(self.content.of_warm).mean()), 1e-6)
        self._factored: tuple[bool, float] | None = None
        self._factor = np.zeros((0, 0), np.float32)

    def kernel(self, songs: np.ndarray, encoding: Encoding, squared: bool) -> np.ndarray:
        """Returns (songs, warm) float32."""
        return self._of(self.content.kernel(songs, encoding), squared)

    def _of(self, products: np.ndarray, squared: bool) -> np.ndarray:
        scaled = np.float32(self.scale) * products
        return scaled + scaled * scaled if squared else scaled

    def weights(self, songs: np.ndarray, encoding: Encoding, squared: bool, ridge: float) -> np.ndarray:
        """Returns (songs, warm): `k (K + ridge I)^-1`."""
        if self._factored != (squared, ridge):
            regular = self._of(self.content.of_warm, squared)
            regular.flat[:: len(regular) + 1] += np.float32(ridge)
            self._factor, _ = linalg.cho_factor(regular, lower=True, overwrite_a=True, check_finite=False)
            self._factored = squared, ridge
        kernel = self.kernel(songs, encoding, squared)
        return linalg.cho_solve((self._factor, True), kernel.T, check_finite=False).T

    def scorer(self, settings: Settings) -> Scorer:
        """Returns the scores of some settings."""
        chosen = dict(settings)
        learnt = targets(self.problem, chosen["own_share"], chosen["column_power"])
        sums = np.maximum(self.problem.similarity.sum(axis=1), 1e-6)

        def weights(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
            return self.weights(songs, encoding, chosen["squared"], chosen["ridge"])

        def similar(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
            scores = weights(songs, encoding) @ learnt
            if not chosen["neighbours"]:
                return scores
            return scores + chosen["neighbours"] * (scores @ self.problem.similarity) / sums

        return with_rule(self.problem, similar, weights, chosen["listeners"])


def kernel_ridge_with_options(problem: Problem) -> Scorer:
    """Returns the kernel ridge of the settings that validation songs choose."""
    ridge = ridge_of(problem)
    return ridge.scorer(_chosen(problem, ridge, RIDGE_SEARCH.draw(trials_of(problem))))


def ridge_of(problem: Problem) -> KernelRidge:
    """Returns the kernel of a problem, computed once for all rows."""
    if "kernel ridge" not in problem.shared:
        problem.shared["kernel ridge"] = KernelRidge(problem)
    return problem.shared["kernel ridge"]


def _chosen(problem: Problem, ridge: KernelRidge, order: list[Settings]) -> Settings:
    # Settings of one factor come together, because a factor costs most; the first of equal ones is chosen.
    together = sorted(order, key=lambda settings: (dict(settings)["squared"], dict(settings)["ridge"]))
    reached = {settings: worth(problem, ridge.scorer(settings)) for settings in together}
    return first_best({settings: reached[settings] for settings in order})
