"""Rows without any training, and rows that one linear system solves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy import linalg, special
from sklearn.utils.extmath import randomized_svd

from bcl_keras.evaluation.choices import best_rows, choose_weights, first_best
from benchmarks.quality.encoding import Encoding, unit_rows
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners
from benchmarks.targeting_study.simulated import chance_to_play
from tfx_pipeline.contract import SONGS
from tfx_pipeline.contract.splits import VALIDATION
from tfx_pipeline.datasets.simulate import TRUTH

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
RIDGES = (0.5, 1.0, 2.0, 4.0, 8.0)
FACTORS = 100
NEIGHBOURS = 50
ARTIST = "attribute_artist"


class Content:
    """Joined content: a kernel between any songs and the warm ones, its weights chosen on validation songs."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._warm = problem.encoding.blocks(problem.warm)
        self.weights = self._choose()
        self._factors: dict[float, np.ndarray] = {}

    def kernel(self, songs: np.ndarray, encoding: Encoding, weights: Mapping[str, float] | None = None) -> np.ndarray:
        """Returns (songs, warm) float32, the weighted sum of the blocks' products."""
        total = np.zeros((len(songs), len(self.problem.warm)), np.float32)
        for name, block in encoding.blocks(songs).items():
            weight = (weights or self.weights)[name]
            if weight:
                total += weight * np.asarray((block @ self._warm[name].T).todense(), np.float32)
        return total

    @cached_property
    def of_warm(self) -> np.ndarray:
        """(warm, warm) float32, the kernel K of the warm songs."""
        return self.kernel(self.problem.warm, self.problem.encoding)

    def solve(self, ridge: float, right: np.ndarray) -> np.ndarray:
        """Returns (K + ridge I)^-1 right; each ridge is factored once for all rows."""
        if ridge not in self._factors:
            regular = self.of_warm.copy()
            regular.flat[:: len(regular) + 1] += ridge
            self._factors[ridge], _ = linalg.cho_factor(regular, lower=True, overwrite_a=True, check_finite=False)
        return linalg.cho_solve((self._factors[ridge], True), right, check_finite=False)

    def _choose(self) -> dict[str, float]:
        products = {
            name: np.asarray((block @ self._warm[name].T).todense(), np.float32)
            for name, block in self.problem.encoding.blocks(self.problem.cold(VALIDATION)).items()
        }
        return choose_weights(products, self.problem.validation_judge.recall_of_scores, WEIGHTS)


def choose(problem: Problem, settings: Iterable[float], fit: Callable[[float], Scorer]) -> Scorer:
    """Returns the scorer of the setting with the best recall@50 on validation songs."""
    songs, recall = problem.cold(VALIDATION), problem.validation_judge.recall_of_scores
    scorers = [fit(setting) for setting in settings]
    return first_best({scorer: recall(scorer(songs, problem.encoding)) for scorer in scorers})


def random_order(problem: Problem) -> Scorer:
    """Any order."""
    return lambda songs, _: np.random.default_rng(problem.seed).random((len(songs), len(problem.warm)))


def popularity(problem: Problem) -> Scorer:
    """Songs with most listeners first, for everyone alike."""
    listeners = np.asarray(problem.plays.sum(axis=1)).ravel()
    return lambda songs, _: np.broadcast_to(listeners, (len(songs), len(listeners)))


def content_cosine(problem: Problem) -> Scorer:
    """Cosine of the joined content, weights of the fields chosen on validation songs."""
    return content_of(problem).kernel


def weighted_count(problem: Problem) -> Scorer:
    """The audience similarities of the 50 songs of most similar content, weighted by that similarity."""
    content = content_of(problem)

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        kernel = content.kernel(songs, encoding)
        return np.where(best_rows(kernel, NEIGHBOURS), kernel, 0) @ problem.similarity

    return score


def artist_mean(problem: Problem) -> Scorer:
    """The mean audience similarities of the artist's other songs; content cosine, scaled down, where there are none."""
    content = content_of(problem)

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        artists = encoding.features[ARTIST]
        same = (artists[songs][:, None] == artists[problem.warm][None, :]) & (artists[songs] > 0)[:, None]
        mean = same.astype(np.float32) @ problem.similarity / np.maximum(same.sum(axis=1), 1)[:, None]
        return mean + same * mean.max(axis=1, keepdims=True) + 1e-4 * content.kernel(songs, encoding)

    return score


def ridge_to_factors(problem: Problem, *, own: bool) -> Scorer:
    """Ridge from content to the songs' factors (truncated SVD of the plays); cosine with the candidates' factors.

    Args:
        problem: The split.
        own: Whether candidates are their own factors, or what their content predicts.
    """
    content = content_of(problem)
    left, sizes, _ = randomized_svd(problem.plays, FACTORS, random_state=problem.seed)
    factors = _unit(left * sizes).astype(np.float32)

    def fit(ridge: float) -> Scorer:
        solved = content.solve(ridge, factors)
        candidates = factors if own else _unit(content.of_warm @ solved)
        return lambda songs, encoding: _unit(content.kernel(songs, encoding) @ solved) @ candidates.T

    return choose(problem, RIDGES, fit)


def kernel_ridge(problem: Problem) -> Scorer:
    """Kernel ridge from the joined content straight to the rows of the audience-similarity matrix."""
    content = content_of(problem)

    def fit(ridge: float) -> Scorer:
        def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
            # The songs asked about are fewer than the candidates: solving for them is a fraction of the work.
            weights = content.solve(ridge, content.kernel(songs, encoding).T)
            return weights.T @ problem.similarity

        return score

    return choose(problem, RIDGES, fit)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def content_of(problem: Problem) -> Content:
    """The content of a problem, chosen once for all rows."""
    if "content" not in problem.shared:
        problem.shared["content"] = Content(problem)
    return problem.shared["content"]


def true_taste(problem: Problem) -> Scorer:
    """The ceiling on a simulated catalogue: the law that songs are drawn by, against the candidates' listeners.

    The chance that a user plays a song is known from the truth. It ranks the listeners, and the expected audience is
    compared with the audience that each candidate has.
    """
    with np.load(problem.data.folder / TRUTH) as truth:
        settings = json.loads(str(truth["settings"]))
        logits = settings["song_focus"] * truth["stations"] @ truth["song_taste"].T
        with np.errstate(divide="ignore"):  # a song that is not out yet has weight 0
            chances = special.softmax(logits + np.log(truth["song_weight"]), axis=1)
        stations = special.softmax(settings["user_focus"] * truth["user_taste"] @ truth["stations"].T, axis=1)
    order = pq.read_table(problem.data.folder / Path(SONGS).name, columns=["song_id"])["song_id"].to_pylist()
    place = {song: row for row, song in enumerate(order)}
    of_song = np.array([place[song.decode()] for song in problem.data.songs])
    of_user = np.array([int(user.decode()[1:]) for user in problem.data.users])
    law = (stations[of_user] @ chances[:, of_song]).T
    audiences = chance_to_play(law, np.diff(problem.data.plays.tocsc().indptr))
    unit = unit_rows(problem.plays)

    def score(songs: np.ndarray, _: Encoding) -> np.ndarray:
        return np.asarray((unit @ audiences[songs].T).T)

    return WithListeners(score, lambda songs, _: audiences[songs])
