"""Solve the closed form, and choose its settings by what validation songs retrieve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bcl_keras.closed_form.audiences import AudienceSimilarity, AudienceTargets
from bcl_keras.closed_form.nystroem import Nystroem
from bcl_keras.closed_form.prediction import drawn_directions, prediction_basis
from bcl_keras.config import RidgeConfig
from bcl_keras.content.directions import turn_to_draws
from bcl_keras.evaluation.choices import Judge, first_best, is_better
from bcl_keras.fields import Array

Setting = tuple[float, float, float]  # ridge, own share, power


@dataclass(frozen=True)
class Queries:
    """Validation songs: their kernel with the landmarks `(n, M)`, and what they should retrieve."""

    kernel: Array
    judge: Judge


@dataclass(frozen=True)
class Solution:
    """The embeddings that were solved for, and the settings that were chosen.

    Attributes:
        query_map: `(M, d)`: a song's kernel with the landmarks times it is the song's query.
        candidate_map: `(M, d)`: the same for a candidate without plays.
        songs: `(num_songs, d)`, the candidate embeddings of the warm songs.
        ridge: What is added to the diagonal of the kernel.
        own_share: By how much a song counts as part of its own audience.
        power: Power of the length that a candidate's similarities are divided by.
        spread: Share of its neighbours' scores that a candidate gets.
        validation_recall: Recall of the validation songs, if there were any.
    """

    query_map: Array
    candidate_map: Array
    songs: Array
    ridge: float
    own_share: float
    power: float
    spread: float
    validation_recall: float | None


@dataclass(frozen=True)
class _Fit:
    recall: float
    coefficients: Array
    basis: Array


def solve(
    config: RidgeConfig, ridge: Nystroem, similarity: AudienceSimilarity, rank: int, queries: Queries | None = None
) -> Solution:
    """Return the embeddings, with the settings that the validation songs prefer.

    Settings are chosen one after the other, by the candidates without their neighbours. The spread comes last.

    Args:
        config: The values to choose among. Without validation songs the middle one of each is taken.
        ridge: The kernel of the training songs.
        similarity: Their audience similarities with the warm songs.
        rank: Length of the embeddings, at most the number of warm songs.
        queries: The validation songs.
    """
    grids = (config.ridges, config.own_shares, config.powers)
    setting, found = _choose(grids, _fitter(ridge, similarity, rank, queries), chooses=queries is not None)
    # Scores are the same in any rotation; this one depends on nothing but the subspace.
    turn = turn_to_draws(found.basis).astype("float32")
    query_map, songs = found.coefficients @ turn, found.basis @ turn
    together = (similarity @ songs)[: len(songs)]
    neighbours = together / np.maximum(similarity.sums(), 1e-6)[:, None].astype("float32")
    spread, recall = _middle(config.spreads), None
    if queries is not None:
        embedded = queries.kernel @ query_map
        recalls = {part: queries.judge.recall(embedded, songs + part * neighbours) for part in config.spreads}
        spread = first_best(recalls)
        recall = recalls[spread]
    songs = (songs + spread * neighbours).astype("float32")
    of_warm = ridge.of_first(len(songs))
    of_warm.set_ridge(setting[0])
    return Solution(query_map, of_warm.coefficients(songs), songs, *setting, spread, recall)


def _fitter(
    ridge: Nystroem, similarity: AudienceSimilarity, rank: int, queries: Queries | None
) -> Callable[[Setting], _Fit]:
    """Return a function that fits one setting, and starts from the directions of the setting before."""
    start = drawn_directions(similarity.num_songs, rank)

    def fit(setting: Setting) -> _Fit:
        nonlocal start
        ridge.set_ridge(setting[0])
        targets = AudienceTargets(similarity, setting[1], setting[2])
        basis, start = prediction_basis(ridge, targets, start, rank)
        coefficients = ridge.coefficients(targets @ basis)
        recall = 0.0 if queries is None else queries.judge.recall(queries.kernel @ coefficients, basis)
        return _Fit(recall, coefficients, basis)

    return fit


def _choose(
    grids: tuple[tuple[float, ...], ...], fit: Callable[[Setting], _Fit], *, chooses: bool
) -> tuple[Setting, _Fit]:
    chosen: Setting = (_middle(grids[0]), _middle(grids[1]), _middle(grids[2]))
    fit(chosen)  # one round more than later settings need, which start from these directions
    best = fit(chosen)
    # The power matters most; the ridge costs most, since its inverse is made anew.
    for place in (2, 0, 1) if chooses else ():
        for value in grids[place]:
            if value == chosen[place]:
                continue
            values = list(chosen)
            values[place] = value
            setting: Setting = (values[0], values[1], values[2])
            found = fit(setting)
            if is_better(found.recall, best.recall):
                best, chosen = found, setting
    return chosen, best


def _middle(values: tuple[float, ...]) -> float:
    return values[len(values) // 2]
