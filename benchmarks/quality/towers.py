"""Our rows: the two towers with and without each part of the method, and what joins them with a closed form."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

import bcl_keras
from bcl_keras import BCLConfig
from benchmarks.quality.closed_form import Scorer, recall
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.judging import as_truth
from benchmarks.quality.problem import Problem
from tfx_pipeline.cold_split import VALIDATION

POSITIVES = 20
JOINT_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def tower(problem: Problem, config: BCLConfig, *, contrast_over: bcl_keras.data.ContrastOver = "warm") -> Scorer:
    """Trains both towers; the epoch with the best recall on validation songs is kept.

    Args:
        problem: The split.
        config: Settings; the seed is the problem's.
        contrast_over: What the contrastive batch is drawn over; cold songs bring features only.
    """
    keras.utils.set_random_seed(problem.seed)
    config = replace(config, seed=problem.seed)
    warm, everything = problem.warm, problem.encoding
    order = np.concatenate([warm, np.flatnonzero(problem.split != "warm")])
    model = bcl_keras.models.BCLModel(everything.fields, config, num_songs=len(warm))
    model.set_catalogue(everything.rows(order if contrast_over == "catalogue" else warm))
    stream = bcl_keras.data.PairStream(
        _pairs(problem),
        len(warm),
        num_rows=model.feature_table.num_rows,
        batch_size=config.batch_size,
        known_positives=POSITIVES,
        contrast_over=contrast_over if model.has_contrast else "none",
        seed=problem.seed,
    )
    songs = problem.cold(VALIDATION)
    truth = problem.similar_truth(songs)[:, :POSITIVES]
    watch = bcl_keras.callbacks.ValidationRecall(everything.rows(songs), truth, restore_best=True)
    model.compile(jit_compile=False)
    model.fit(stream, epochs=config.epochs, verbose=0, callbacks=[watch])
    candidates = model.embed_songs(np.arange(len(warm)), candidate=True)

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        return model.predict(encoding.rows(songs), batch_size=1024, verbose=0) @ candidates.T

    return score


def joined(problem: Problem, ridge: Scorer, trained: Scorer) -> Scorer:
    """Audience ridge plus a tower: each song's scores standardised, the tower's weight chosen on validation songs.

    Both are inner products of a function of the content with a vector per warm song, so their sum is one too: one index
    can serve it.
    """
    songs = problem.cold(VALIDATION)
    truth = as_truth(problem.similar_truth(songs), len(problem.warm), POSITIVES)
    first, second = (_standardised(scorer(songs, problem.encoding)) for scorer in (ridge, trained))
    weight = max(JOINT_WEIGHTS, key=lambda w: recall(first + w * second, truth))

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        return _standardised(ridge(songs, encoding)) + weight * _standardised(trained(songs, encoding))

    return score


def _pairs(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 20 most similar warm songs of each warm song, where listeners are shared more often than by chance."""
    listeners = np.asarray(problem.plays.sum(axis=1)).ravel()
    users = problem.plays.shape[1]
    best = np.argpartition(-problem.similarity, POSITIVES, axis=1)[:, :POSITIVES]
    anchors = np.repeat(np.arange(len(best)), POSITIVES)
    positives = best.ravel()
    weights = problem.similarity[anchors, positives]
    by_chance = np.sqrt(listeners[anchors] * listeners[positives]) / users
    kept = weights > by_chance
    return anchors[kept], positives[kept], weights[kept]


def _standardised(scores: np.ndarray) -> np.ndarray:
    return (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
