"""Our rows: the two towers with and without each part of the method, and what joins them with a closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

import bcl_keras
from bcl_keras import BCLConfig
from bcl_keras.config import RidgeConfig
from bcl_keras.evaluation.choices import is_better
from benchmarks.quality.baselines.training import MOST_STEPS, ROUND, StopsWithoutGain
from benchmarks.quality.encoding import Encoding, unit_rows
from benchmarks.quality.field_forms import FieldForm, form_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.regime_losses import regime_losses
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.streams import InOrder
from benchmarks.quality.validation import worth
from tfx_pipeline.contract.splits import VALIDATION

POSITIVES = 20
RIDGE_PAIRS = 100
#: Numbers of the sketch of content, as many as in the pipeline.
SKETCH = 256
#: Where songs of one or two listeners are anchors too, anchors are drawn by their listeners to this power.
SPARSE_ANCHOR_POWER = 0.5
_BATCH = 1024


@dataclass(frozen=True)
class Training:
    """How towers are trained, beside their settings.

    Attributes:
        contrast_over: What the contrastive batch is drawn over; cold songs bring features only.
        sparse: Whether songs of too few listeners to be candidates are anchors too.
        patient: Whether training goes on until validation songs gain no more, as that of every trained row (`worth`);
            else it has the epochs of the settings, as in the pipeline, and the one of the best recall is kept.
        one_negative: Whether a pair has one warm song drawn uniformly as its negative, and not the batch's positives.
        as_played: Whether anchors are drawn as often as they are played, so that songs of few plays learn little.
        all_shown: Whether songs of which a view is empty are no negatives of the contrast either.
        fields: How the fields are put together: see `benchmarks.quality.field_forms`.
        window: Share of the catalogue that contrastive batches are drawn from at a time, in the order of the songs'
            ids; 0 = from all of it.
    """

    contrast_over: bcl_keras.data.ContrastOver = "warm"
    sparse: bool = False
    patient: bool = False
    one_negative: bool = False
    as_played: bool = False
    all_shown: bool = False
    fields: FieldForm = "given"
    window: float = 0.0


def tower(problem: Problem, config: BCLConfig, training: Training = Training()) -> bcl_keras.models.BCLModel:
    """Trains both towers; the weights that were best on validation songs are kept.

    Args:
        problem: The split.
        config: Settings; the seed is the problem's.
        training: How.
    """
    keras.utils.set_random_seed(problem.seed)
    config = replace(config, seed=problem.seed, epochs=min(config.epochs, problem.epochs or config.epochs))
    encoding, songs = form_of(problem, training.fields)(problem.encoding), learnt_songs(problem, training.sparse)
    if training.contrast_over == "catalogue":
        songs = np.concatenate([songs, np.setdiff1d(np.arange(len(problem.split)), songs)])
    model = bcl_keras.models.BCLModel(encoding.fields, len(problem.warm), config)
    model.set_catalogue(encoding.rows(songs))
    losses = regime_losses(config, one_negative=training.one_negative, all_shown=training.all_shown)
    model.compile(loss=losses, jit_compile=False)
    watch: keras.callbacks.Callback
    if training.patient:
        epochs = min(MOST_STEPS // ROUND, problem.epochs or MOST_STEPS)
        watch = StopsWithoutGain(lambda: worth(problem, scorer(model, form_of(problem, training.fields))))
    else:
        epochs, watch = config.epochs, bcl_keras.callbacks.ValidationRecall(*validation(problem), restore_best=True)
    stream = _stream(problem, config, training, songs, contrast=model.has_contrast)
    model.fit(stream, epochs=epochs, verbose=0, callbacks=[watch])
    return model


def _stream(
    problem: Problem, config: BCLConfig, training: Training, songs: np.ndarray, *, contrast: bool
) -> bcl_keras.data.PairStream:
    pairs = learnt_pairs(problem, POSITIVES, training.sparse)
    of_warm = len(similar_pairs(problem)[0])
    power = 1.0 if training.as_played else SPARSE_ANCHOR_POWER if training.sparse else 0.0
    made: Callable[..., bcl_keras.data.PairStream] = bcl_keras.data.PairStream
    if training.window:
        made = partial(InOrder, np.argsort(songs, kind="stable"), training.window)
    return made(
        pairs,
        len(problem.warm),
        num_rows=len(songs),
        batch_size=config.batch_size,
        steps_per_epoch=ROUND if training.patient else -(-of_warm // config.batch_size),
        popularity=np.diff(problem.data.plays.indptr)[songs] if power else None,
        anchor_power=power,
        negatives="uniform" if training.one_negative else "in_batch",
        known_positives=POSITIVES,
        contrast_over=training.contrast_over if contrast else "none",
        seed=problem.seed,
    )


def audience_ridge_model(
    problem: Problem, sparse: bool = False, rank: int = RidgeConfig().rank
) -> bcl_keras.models.AudienceRidge:
    """The closed form that the pipeline serves, solved once per split, rank, and with or without sparse songs.

    Of each song the strongest pairs count, as many as the pipeline keeps.
    """
    return _solved_ridge(problem, sparse, rank)[0]


def content_sketch_model(problem: Problem, sparse: bool = False) -> bcl_keras.models.ContentSketch:
    """The sketch of content that the pipeline joins, made once per split with the block weights of the closed form."""
    key = f"content sketch, sparse songs {sparse}"
    if key not in problem.shared:
        model = bcl_keras.models.ContentSketch(problem.encoding.fields, len(problem.warm), SKETCH)
        weights = _solved_ridge(problem, sparse)[1]["block_weights"]
        model.adapt(problem.encoding.rows(problem.warm), block_weights=weights)
        problem.shared[key] = model
    return problem.shared[key]


def sparse_songs_help(problem: Problem) -> bool:
    """Whether the closed form finds as much of the validation songs' truth with sparse songs as without them."""
    alone, with_them = (_solved_ridge(problem, sparse)[1]["validation_recall"] for sparse in (False, True))
    return not is_better(alone, with_them)


def _solved_ridge(
    problem: Problem, sparse: bool, rank: int = RidgeConfig().rank
) -> tuple[bcl_keras.models.AudienceRidge, dict[str, Any]]:
    key = f"audience ridge, sparse songs {sparse}, rank {rank}"
    if key not in problem.shared:
        model = bcl_keras.models.AudienceRidge(problem.encoding.fields, len(problem.warm), RidgeConfig(rank=rank))
        rows = problem.encoding.rows(learnt_songs(problem, sparse))
        chosen = model.adapt(rows, learnt_pairs(problem, RIDGE_PAIRS, sparse), validation(problem))
        problem.shared[key] = model, chosen
    return problem.shared[key]


def audience_ridge(
    problem: Problem, sparse: bool = False, rank: int = RidgeConfig().rank, *, evens: bool = False
) -> Scorer:
    """The scores of the closed form alone."""
    model: bcl_keras.models.SongModel = audience_ridge_model(problem, sparse, rank)
    return scorer(evened(problem, model) if evens else model)


def ridge_and_content(problem: Problem) -> Scorer:
    """The scores of the closed form and the sketch of content, which counts as much as validation songs choose."""
    parts = [audience_ridge_model(problem)]
    return scorer(bcl_keras.models.join_if_better(parts, content_sketch_model(problem), validation(problem))[0])


def evened(problem: Problem, model: bcl_keras.models.SongModel) -> bcl_keras.models.EvenedModel:
    """The model with its candidates evened as the pipeline does it: as far as validation songs lose no recall."""
    found = bcl_keras.models.EvenedModel(model)
    found.adapt(problem.encoding.rows(problem.warm), validation(problem))
    return found


def joined(
    problem: Problem, towers: bcl_keras.models.BCLModel, sparse: bool = False, *, content: bool = False
) -> tuple[bcl_keras.models.JoinedModel, float]:
    """The closed form and towers, and their recall on the validation songs.

    Args:
        problem: The split.
        towers: The towers.
        sparse: Whether the closed form learns from sparse songs too.
        content: Whether the sketch of content is joined too, as the pipeline does it.
    """
    parts = [audience_ridge_model(problem, sparse), towers]
    if content:
        sketch = content_sketch_model(problem, sparse)
        model, report = bcl_keras.models.join_if_better(parts, sketch, validation(problem))
    else:
        model = bcl_keras.models.JoinedModel(parts)
        report = model.adapt(validation(problem))
    return model, report["validation_recall"]


def scorer(model: bcl_keras.models.SongModel, form: Callable[[Encoding], Encoding] | None = None) -> Scorer:
    """Inner products of the content's embedding with the candidates'.

    Args:
        model: The model.
        form: Puts the fields of an encoding together as the model has them. Defaults to nothing.
    """
    candidates = model.warm_candidates()

    def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        encoding = form(encoding) if form else encoding
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
