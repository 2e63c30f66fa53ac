"""Choose settings by what validation songs retrieve, so that rounding decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from bcl_keras.blocks import in_blocks
from bcl_keras.fields import Array

#: Validation songs that choices are made on, at most.
MOST_JUDGED = 1000
#: Recalls that differ by no more are equal: two of 20,000 hits say nothing, and rounding may decide them.
EQUAL_RECALL = 1e-4
#: Scores of a song that differ by no more than this part of its largest are equal: float32 holds no more.
EQUAL_SCORE = 1e-5
#: Weights that a model joined with others may have.
MODEL_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_PASSES = 2

Setting = TypeVar("Setting")


def is_better(recall: float, than: float) -> bool:
    """Return whether a recall is larger by more than `EQUAL_RECALL`."""
    return recall > than + EQUAL_RECALL


def first_best(recalls: Mapping[Setting, float]) -> Setting:
    """Return the first setting whose recall no other recall beats (`is_better`)."""
    best = max(recalls.values())
    return next(setting for setting, recall in recalls.items() if not is_better(best, recall))


@dataclass(frozen=True)
class Judge:
    """Validation songs and what they should retrieve.

    Attributes:
        positives: `(n, P)` rows of candidates, padded with -1.
        k: Length of the list.
    """

    positives: Array
    k: int = 50

    def recall(self, queries: Array, candidates: Array) -> float:
        """Return the mean recall of the songs that have positives, by inner products."""
        return self.recall_of((queries[rows] @ candidates.T, rows) for rows in in_blocks(np.arange(len(queries))))

    def recall_of_scores(self, scores: Array) -> float:
        """Return the mean recall of the songs that have positives, by `(n, candidates)` scores."""
        return self.recall_of([(scores, np.arange(len(scores)))])

    def recall_of(self, scores: Iterable[tuple[Array, Array]]) -> float:
        """Return the mean recall from blocks of scores `(b, candidates)` with their songs `(b,)`."""
        found = [self._recalls(block, self.positives[rows]) for block, rows in scores]
        return float(np.nanmean(np.concatenate(found)))

    def _recalls(self, scores: Array, positives: Array) -> Array:
        known, places = positives >= 0, np.maximum(positives, 0)
        hits = (_are_best(scores, places, max(1, min(self.k, scores.shape[1] - 1))) & known).sum(axis=1)
        counts = known.sum(axis=1)
        return np.where(counts > 0, hits / np.maximum(counts, 1), np.nan)


def _are_best(scores: Array, places: Array, k: int) -> Array:
    """Return whether candidates are among each song's k best (`best_rows`), `(n, P)` bool, without marking all."""
    asked = np.take_along_axis(scores, places, axis=1)
    last, near = _last_and_near(scores, k)
    found = asked > last + near
    unsure = np.flatnonzero((~found & (asked >= last - near)).any(axis=1))
    if len(unsure):
        found[unsure] = np.take_along_axis(best_rows(scores[unsure], k), places[unsure], axis=1)
    return np.asarray(found)


def _last_and_near(scores: Array, k: int) -> tuple[Array, Array]:
    """Return each song's k-th best score, and by how much a score that counts as equal may differ; `(n, 1)` each."""
    largest = np.maximum(scores.max(axis=1), -scores.min(axis=1))
    return np.partition(scores, -k, axis=1)[:, -k, None], EQUAL_SCORE * largest[:, None]


def best_rows(scores: Array, k: int) -> Array:
    """Return which candidates are each song's k best; of nearly equal ones (`EQUAL_SCORE`) the first.

    Args:
        scores: `(n, candidates)`.
        k: From 1 to the number of candidates.

    Returns:
        `(n, candidates)` bool.
    """
    last, near = _last_and_near(scores, k)
    above = scores > last + near
    equal = (scores >= last - near) & ~above
    left = k - above.sum(axis=1, keepdims=True)
    return np.asarray(above | (equal & (np.cumsum(equal, axis=1, dtype="int32") <= left)))


def judged_songs(
    validation: tuple[Mapping[str, Any], Any] | None, rng: np.random.Generator
) -> tuple[dict[str, Array], Array] | None:
    """Return the validation songs that have positives, at most `MOST_JUDGED`; None if no song has any.

    Args:
        validation: Features of the songs, and `(n, P)` rows of the candidates they should retrieve, padded with -1.
        rng: Draws the songs if there are more.
    """
    if validation is None:
        return None
    positives = np.asarray(validation[1])
    usable = np.flatnonzero((positives >= 0).any(axis=1))
    if not len(usable):
        return None
    usable = np.sort(rng.permutation(usable)[:MOST_JUDGED])
    return {name: np.asarray(values)[usable] for name, values in validation[0].items()}, positives[usable]


def candidate_pool(positives: Array, count: int, most: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the candidates that choices are made on, and the positives as places among them.

    If there are more than `most` candidates, these are the positives and a sample.

    Args:
        positives: `(n, P)` rows of candidates, padded with -1.
        count: Number of candidates.
        most: Size of the sample.
        rng: Draws the sample.

    Returns:
        `(pool,)` sorted rows of candidates, and `(n, P)` places in the pool, padded with -1.
    """
    if count <= most:
        return np.arange(count), positives
    drawn = rng.choice(count, most, replace=False)
    pool = np.union1d(positives[positives >= 0], drawn)
    return pool, np.where(positives >= 0, np.searchsorted(pool, np.maximum(positives, 0)), -1)


def choose_weights(
    products: Mapping[str, Array], recall: Callable[[Array], float], grid: Iterable[float]
) -> dict[str, float]:
    """Return the weights of the blocks whose weighted sum of scores retrieves best.

    Coordinate ascent: two passes over the blocks, all weights 1 at first. One block at least keeps a weight.

    Args:
        products: `(n, candidates)` scores of each block.
        recall: Of `(n, candidates)` scores.
        grid: Weights to try.
    """
    tried = tuple(grid)
    weights = dict.fromkeys(products, 1.0)
    total = np.sum(list(products.values()), axis=0)
    best = recall(total)
    for name in [*products] * _PASSES:
        others = total - weights[name] * products[name]
        for weight in tried:
            if not any({**weights, name: weight}.values()):
                continue
            found = recall(others + weight * products[name])
            if is_better(found, best):
                best, weights[name] = found, weight
        total = others + weights[name] * products[name]
    return weights


def choose_block_weights(
    queries: Mapping[str, Array], songs: Mapping[str, Array], judge: Judge, grid: Iterable[float]
) -> dict[str, float]:
    """Return the block weights with which content alone retrieves best (`choose_weights`).

    Args:
        queries: Vectors of the validation songs by block.
        songs: Vectors of the candidates by block.
        judge: What is right.
        grid: Weights to try.
    """
    products = {name: queries[name] @ songs[name].T for name in queries}
    return choose_weights(products, judge.recall_of_scores, grid)


def choose_model_weights(scores: Sequence[Array], recall: Callable[[Array], float]) -> tuple[tuple[float, ...], float]:
    """Return the weights of models whose weighted sum of scores retrieves best, and its recall.

    The first model weighs 1, a later one 0 at first. Each gets the smallest of the best weights in turn, twice. Of two
    models all weights are tried. Of three, 21 combinations at most are tried, and not 36.

    Args:
        scores: `(n, candidates)` of each model.
        recall: Of `(n, candidates)` scores.
    """

    def of_sum(weights: tuple[float, ...]) -> float:
        total = weights[0] * scores[0]
        for weight, part in zip(weights[1:], scores[1:], strict=True):
            if weight:
                total += weight * part
        return recall(total)

    weights = (1.0, *[0.0] * (len(scores) - 1))
    found = {weights: of_sum(weights)}
    for place in [*range(1, len(scores))] * _PASSES:
        tried = [(*weights[:place], weight, *weights[place + 1 :]) for weight in MODEL_WEIGHTS]
        found |= {each: of_sum(each) for each in tried if each not in found}
        weights = first_best({each: found[each] for each in tried})
    return weights, found[weights]
