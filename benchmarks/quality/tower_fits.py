"""Fits of our rows: towers trained once per split however many rows use them, alone and joined with the closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bcl_keras
from bcl_keras import BCLConfig
from bcl_keras.evaluation.choices import first_best
from benchmarks.quality import towers
from benchmarks.quality.field_forms import form_of
from benchmarks.quality.gallery import gallery
from benchmarks.quality.problem import Problem
from benchmarks.quality.row import has_sparse_songs
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.towers import Training

#: Every trained row is trained until validation songs gain no more.
PATIENT = Training(patient=True)
#: The same, with songs of too few listeners to be candidates as anchors too.
SPARSE = Training(patient=True, sparse=True)
BPR = BCLConfig(contrast_weight=0.0)
#: Contrast on the embeddings that are served; behind a head, what it teaches stays in the head.
BCL = BCLConfig()
BEST, RIDGE_AND_BCL = "best", "ridge + BCL"
#: Settings in which rows without the contrastive task differ, all but those of the contrast itself.
_ONLY_FOR_VIEWS = (
    "contrast_weight",
    "contrast_temperature",
    "projection_dim",
    "views",
    "operators",
    "mask_rate",
    "noise_scale",
    "correlation_mode",
    "momentum",
    "update_every",
    "correlation_songs",
    "unbiased_correlation",
    "grouping",
)


def trained(problem: Problem, config: BCLConfig, training: Training = PATIENT, **settings: Any) -> Scorer:
    """Returns the scores of towers alone."""
    model = trained_towers(problem, replace(config, **settings), training)
    return towers.scorer(model, form_of(problem, training.fields))


def trained_towers(problem: Problem, config: BCLConfig, training: Training = PATIENT) -> bcl_keras.models.BCLModel:
    """Returns towers, trained once per split."""
    key = key_of(config, training)
    if key not in problem.shared:
        problem.shared[key] = towers.tower(problem, config, training)
    return problem.shared[key]


def joined(problem: Problem, config: BCLConfig, training: Training = PATIENT, **settings: Any) -> Scorer:
    """Returns the scores of towers joined with the closed form."""
    config = replace(config, **settings)
    model, _ = towers.joined(problem, trained_towers(problem, config, training), training.sparse)
    if config.contrast_weight and training == PATIENT:
        problem.shared[RIDGE_AND_BCL] = model, config, training
    return towers.scorer(model)


def best(problem: Problem, choices: tuple[BCLConfig, ...]) -> Scorer:
    """Joins each configuration with closed form and content, keeps the best on validation songs, and evens it.

    As in the pipeline, the closed form's recall on them says whether to learn from sparse songs.
    """
    helped = has_sparse_songs(problem.data) and towers.sparse_songs_help(problem)
    training = SPARSE if helped else PATIENT
    fitted = [trained_towers(problem, config, training) for config in choices]
    found = [towers.joined(problem, each, helped, content=True) for each in fitted]
    model = towers.evened(problem, first_best(dict(found)))
    problem.shared[BEST] = model, BCL, training
    return towers.scorer(model)


def show(problem: Problem) -> tuple[str, dict[str, Any]] | None:
    """Returns which joined model of a split is at hand, the best rather than another, and its gallery; nothing if none.

    The correlation shown is that of BCL's towers, trained on the same songs.
    """
    for name in (BEST, RIDGE_AND_BCL):
        if name in problem.shared:
            model, config, training = problem.shared[name]
            return name, gallery(problem, model, trained_towers(problem, config, training))
    return None


def key_of(config: BCLConfig, training: Training = PATIENT) -> str:
    """Returns what towers are trained with, as text; the same for settings that train the same."""
    if config.correlation_mode == "last_batch":  # what no share of the old matrix is
        config = replace(config, correlation_mode="ewma", momentum=0.0)
    if not config.contrast_weight:  # then no setting of the contrastive task changes anything
        config = replace(config, **{name: getattr(BPR, name) for name in _ONLY_FOR_VIEWS})
    return f"{config} {training}"
