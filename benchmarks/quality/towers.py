"""Our rows: the two towers with and without each part of the method, and what joins them with a closed form."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
from keras import ops

import bcl_keras
from bcl_keras import BCLConfig
from bcl_keras.evaluation.choices import is_better
from benchmarks.quality.closed_form import Scorer
from benchmarks.quality.encoding import Encoding, unit_rows
from benchmarks.quality.problem import Problem
from tfx_pipeline.contract.splits import VALIDATION, WARM

POSITIVES = 20
RIDGE_PAIRS = 100
#: Where songs of one or two listeners are anchors too, anchors are drawn by their listeners to this power.
SPARSE_ANCHOR_POWER = 0.5
_BATCH = 1024


def tower(
    problem: Problem,
    config: BCLConfig,
    *,
    contrast_over: bcl_keras.data.ContrastOver = "warm",
    sparse: bool = False,
) -> bcl_keras.models.BCLModel:
    """Trains both towers; the epoch with the best recall on validation songs is kept.

    Args:
        problem: The split.
        config: Settings; the seed is the problem's.
        contrast_over: What the contrastive batch is drawn over; cold songs bring features only.
        sparse: Whether songs of too few listeners to be candidates are anchors too, in as many steps.
    """
    keras.utils.set_random_seed(problem.seed)
    config = replace(config, seed=problem.seed, epochs=min(config.epochs, problem.epochs or config.epochs))
    warm, everything, pairs = problem.warm, problem.encoding, similar_pairs(problem)
    songs, steps, listeners = warm, -(-len(pairs[0]) // config.batch_size), None
    if contrast_over == "catalogue":
        songs = np.concatenate([warm, np.flatnonzero(problem.split != WARM)])
    if sparse:
        songs, pairs = learnt_songs(problem, sparse), learnt_pairs(problem, POSITIVES, sparse)
        listeners = np.diff(problem.data.plays.indptr)[songs]
    model = bcl_keras.models.BCLModel(everything.fields, len(warm), config)
    model.set_catalogue(everything.rows(songs))
    stream = bcl_keras.data.PairStream(
        pairs,
        len(warm),
        num_rows=len(songs),
        batch_size=config.batch_size,
        steps_per_epoch=steps,
        popularity=listeners,
        anchor_power=SPARSE_ANCHOR_POWER if sparse else 0.0,
        known_positives=POSITIVES,
        contrast_over=contrast_over if model.has_contrast else "none",
        seed=problem.seed,
    )
    watch = bcl_keras.callbacks.ValidationRecall(*validation(problem), restore_best=True)
    model.compile(jit_compile=False)
    model.fit(stream, epochs=config.epochs, verbose=0, callbacks=[watch])
    return model


def audience_ridge_model(problem: Problem, sparse: bool = False) -> bcl_keras.models.AudienceRidge:
    """The closed form that the pipeline serves, solved once per split with and once without sparse songs.

    Of each song the strongest pairs count, as many as the pipeline keeps.
    """
    return _solved_ridge(problem, sparse)[0]


def sparse_songs_help(problem: Problem) -> bool:
    """Whether the closed form finds as much of the validation songs' truth with sparse songs as without them."""
    return not is_better(_solved_ridge(problem, sparse=False)[1], _solved_ridge(problem, sparse=True)[1])


def _solved_ridge(problem: Problem, sparse: bool) -> tuple[bcl_keras.models.AudienceRidge, float]:
    key = f"audience ridge, sparse songs {sparse}"
    if key not in problem.shared:
        model = bcl_keras.models.AudienceRidge(problem.encoding.fields, len(problem.warm))
        rows = problem.encoding.rows(learnt_songs(problem, sparse))
        chosen = model.adapt(rows, learnt_pairs(problem, RIDGE_PAIRS, sparse), validation(problem))
        problem.shared[key] = model, chosen["validation_recall"]
    return problem.shared[key]


def audience_ridge(problem: Problem, sparse: bool = False) -> Scorer:
    """The scores of the closed form alone."""
    return scorer(audience_ridge_model(problem, sparse))


def joined(
    problem: Problem, towers: bcl_keras.models.BCLModel, sparse: bool = False
) -> tuple[bcl_keras.models.JoinedModel, float]:
    """The closed form and towers as the pipeline serves them, and their recall on the validation songs."""
    model = bcl_keras.models.JoinedModel([audience_ridge_model(problem, sparse), towers])
    return model, model.adapt(validation(problem))["validation_recall"]


def scorer(model: bcl_keras.models.SongModel) -> Scorer:
    """Inner products of the content's embedding with the candidates'."""
    candidates = model.warm_candidates()

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        parts = [songs[start : start + _BATCH] for start in range(0, len(songs), _BATCH)]
        rows = [{name: ops.convert_to_tensor(v) for name, v in encoding.rows(part).items()} for part in parts]
        return (
            np.concatenate([ops.convert_to_numpy(model.embed_features(features)) for features in rows]) @ candidates.T
        )

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


def learnt_songs(problem: Problem, sparse: bool) -> np.ndarray:
    """Rows of the warm songs, and after them of the sparse ones if those are learnt from."""
    return np.concatenate([problem.warm, problem.sparse_songs]) if sparse else problem.warm


def learnt_pairs(problem: Problem, each: int, sparse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`similar_pairs`, and the same of sparse songs, numbered as `learnt_songs` has them."""
    of_warm = similar_pairs(problem, each)
    if not sparse:
        return of_warm
    further = _sparse_pairs(problem, each)
    first, second, weights = (np.concatenate(both) for both in zip(of_warm, further, strict=True))
    return first, second, weights


def _sparse_pairs(problem: Problem, each: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    heard = problem.heard(problem.sparse_songs)
    cosines = (unit_rows(heard) @ unit_rows(problem.plays).T).tocoo()
    listeners = np.asarray(heard.sum(axis=1)).ravel()[cosines.row]
    others = np.asarray(problem.plays.sum(axis=1)).ravel()[cosines.col]
    kept = cosines.data > np.sqrt(listeners * others) / heard.shape[1]  # more often together than by chance
    anchors, positives, weights = cosines.row[kept], cosines.col[kept], cosines.data[kept]
    order = np.lexsort((positives, -weights, anchors))
    anchors, positives, weights = anchors[order], positives[order], weights[order]
    counts = np.bincount(anchors, minlength=heard.shape[0])
    strongest = np.arange(len(anchors)) - (np.cumsum(counts) - counts)[anchors] < each
    return len(problem.warm) + anchors[strongest], positives[strongest], weights[strongest]
