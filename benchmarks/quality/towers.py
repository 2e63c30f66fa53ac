"""Our rows: the two towers with and without each part of the method, and what joins them with a closed form."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
from keras import ops

import bcl_keras
from bcl_keras import BCLConfig
from benchmarks.quality.closed_form import Scorer
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from tfx_pipeline.cold_split import VALIDATION

POSITIVES = 20
RIDGE_PAIRS = 100
_BATCH = 1024


def tower(
    problem: Problem, config: BCLConfig, *, contrast_over: bcl_keras.data.ContrastOver = "warm"
) -> bcl_keras.models.BCLModel:
    """Trains both towers; the epoch with the best recall on validation songs is kept.

    Args:
        problem: The split.
        config: Settings; the seed is the problem's.
        contrast_over: What the contrastive batch is drawn over; cold songs bring features only.
    """
    keras.utils.set_random_seed(problem.seed)
    config = replace(config, seed=problem.seed, epochs=min(config.epochs, problem.epochs or config.epochs))
    warm, everything = problem.warm, problem.encoding
    order = np.concatenate([warm, np.flatnonzero(problem.split != "warm")])
    model = bcl_keras.models.BCLModel(everything.fields, config, num_songs=len(warm))
    model.set_catalogue(everything.rows(order if contrast_over == "catalogue" else warm))
    stream = bcl_keras.data.PairStream(
        similar_pairs(problem),
        len(warm),
        num_rows=model.feature_table.num_rows,
        batch_size=config.batch_size,
        known_positives=POSITIVES,
        contrast_over=contrast_over if model.has_contrast else "none",
        seed=problem.seed,
    )
    watch = bcl_keras.callbacks.ValidationRecall(*validation(problem), restore_best=True)
    model.compile(jit_compile=False)
    model.fit(stream, epochs=config.epochs, verbose=0, callbacks=[watch])
    return model


def audience_ridge_model(problem: Problem) -> bcl_keras.models.AudienceRidge:
    """The closed form that the pipeline serves, solved once per split.

    Pairs are all there are: the pipeline keeps the 100 strongest of each song.
    """
    if "audience ridge" not in problem.shared:
        model = bcl_keras.models.AudienceRidge(problem.encoding.fields, len(problem.warm))
        model.adapt(problem.encoding.rows(problem.warm), similar_pairs(problem, RIDGE_PAIRS), validation(problem))
        problem.shared["audience ridge"] = model
    return problem.shared["audience ridge"]


def audience_ridge(problem: Problem) -> Scorer:
    """The scores of the closed form alone."""
    return scorer(audience_ridge_model(problem))


def joined(problem: Problem, towers: bcl_keras.models.BCLModel) -> tuple[bcl_keras.models.JoinedModel, float]:
    """The closed form and towers as the pipeline serves them, and their recall on the validation songs."""
    model = bcl_keras.models.JoinedModel([audience_ridge_model(problem), towers])
    return model, model.adapt(validation(problem))["validation_recall"]


def scorer(model: keras.layers.Layer) -> Scorer:
    """Inner products of the content's embedding with the candidates'."""
    candidates = model.warm_candidates()

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        parts = [songs[start : start + _BATCH] for start in range(0, len(songs), _BATCH)]
        rows = [{name: ops.convert_to_tensor(v) for name, v in encoding.rows(part).items()} for part in parts]
        return np.concatenate([ops.convert_to_numpy(model(features)) for features in rows]) @ candidates.T

    return score


def validation(problem: Problem) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of the validation songs, and the rows of the candidates that they should retrieve."""
    songs = problem.cold(VALIDATION)
    return problem.encoding.rows(songs), problem.similar_truth(songs)[:, :POSITIVES]


def similar_pairs(problem: Problem, each: int = POSITIVES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most similar warm songs of each warm song, where listeners are shared more often than by chance."""
    listeners = np.asarray(problem.plays.sum(axis=1)).ravel()
    users = problem.plays.shape[1]
    each = min(each, len(problem.warm) - 1)
    best = np.argpartition(-problem.similarity, each, axis=1)[:, :each]
    anchors = np.repeat(np.arange(len(best)), each)
    positives = best.ravel()
    weights = problem.similarity[anchors, positives]
    by_chance = np.sqrt(listeners[anchors] * listeners[positives]) / users
    kept = weights > by_chance
    return anchors[kept], positives[kept], weights[kept]
