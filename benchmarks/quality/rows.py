"""Every row of the table by name, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

import bcl_keras
from bcl_keras import BCLConfig
from bcl_keras.evaluation.choices import first_best
from benchmarks.quality import closed_form, published, towers
from benchmarks.quality.closed_form import ARTIST, Scorer
from benchmarks.quality.gallery import gallery
from benchmarks.quality.problem import LEAST_LISTENERS, Problem
from benchmarks.targeting_study.datasets import DataSet
from tfx_pipeline.datasets.simulate import TRUTH

BASELINE, METHOD, OURS = "baseline", "the paper's method and its parts", "ours beyond the paper"
SWEEP = "sweep"
#: Rows of one lane share what they fit, so they run in one process: closed forms and what joins them, the same with
#: sparse songs, the published models. A row without a lane shares nothing.
JOINED_LANE, SPARSE_LANE, PUBLISHED_LANE = "joined", "sparse", "published"

BPR = BCLConfig(contrast_weight=0.0)
#: Contrast on the embeddings that are served; behind a head, what it teaches stays in the head.
BCL = BCLConfig()
#: The contrast acts behind a projection head, as the paper has it; all else is as in `BCL`, so that the rows differ by
#: the head alone. It is not the paper's regime: see the row's description.
BEHIND_HEAD = replace(BCL, projection_dim=64)
#: Settings in which rows without the contrastive task differ.
SUPERVISED = ("supervised_loss", "field_dropout")
SOFTMAX = replace(BPR, supervised_loss="sampled_softmax")
FIELD_DROPOUT = 0.3
BEST = "best"
RIDGE_AND_BCL = "ridge + BCL"
#: Validation songs choose one of these towers, which `best` joins with the closed form.
CHOICES = (
    BPR,
    BCL,
    replace(BCL, field_dropout=FIELD_DROPOUT),
    replace(SOFTMAX, field_dropout=FIELD_DROPOUT),
)
#: Option of the rows that learn from songs of too few listeners to be candidates.
SPARSE = {"sparse": True}
#: With fewer fields a group is one field, drawn uniformly: all groupings are one.
FIELDS_TO_GROUP = 4

#: The paper's free settings, each varied around `BCL` (field dropout around `BPR only`).
SWEEPS: dict[str, tuple[str, BCLConfig, tuple[float, ...]]] = {
    "momentum": ("alpha, share of the old correlation kept", BCL, (0.0, 0.5, 0.9, 0.99)),
    "update_every": ("k, steps between updates", BCL, (1, 10, 100)),
    "contrast_temperature": ("tau, of the contrastive loss", BCL, (0.05, 0.1, 0.2, 0.5)),
    "contrast_weight": ("lambda, weight of the contrastive loss", BCL, (0.0, 0.1, 0.3, 1.0)),
    "field_dropout": ("chance that a field is withheld", BPR, (0.0, 0.15, 0.3, 0.5)),
}
#: Sweeps of the correlation that groups are drawn by.
OF_THE_GROUPING = ("momentum", "update_every")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: As printed.
        family: Which part of the table.
        what: One line on what it is, its loss and where it comes from.
        fit: Returns the scorer of a split.
        usable: Whether a data set has what the row needs.
        quick: Whether `--quick` has it.
        lane: Which rows it shares with what it fits.
    """

    name: str
    family: str
    what: str
    fit: Callable[[Problem], Scorer]
    usable: Callable[[DataSet], bool] = lambda _: True
    quick: bool = True
    lane: str = JOINED_LANE

    @property
    def settings(self) -> str:
        """What the row is fitted with, as text: results of other settings are not this row's."""
        return repr(sorted(self.fit.keywords.items())) if isinstance(self.fit, partial) else ""


def _tower(name: str, what: str, config: BCLConfig, family: str = METHOD, quick: bool = False, **options: Any) -> Row:
    lane = JOINED_LANE if config in (BPR, BCL) and not options else name
    fit = partial(_trained, config=config, options=tuple(options.items()))
    return Row(name, family, what, fit, quick=quick, lane=lane)


def _grouped(name: str, what: str, config: BCLConfig, family: str = METHOD) -> Row:
    """A row that differs from another by how groups are drawn."""
    return replace(_tower(name, what, config, family), usable=_has_groups)


def _sparse(row: Row) -> Row:
    """A row of ours that learns from songs of too few listeners to be candidates."""
    return replace(row, usable=_has_sparse_songs, lane=SPARSE_LANE)


def _has_groups(data: DataSet) -> bool:
    return len(data.fields) >= FIELDS_TO_GROUP


def _has_artists(data: DataSet) -> bool:
    return ARTIST in {field.name for field in data.fields}


def _has_sparse_songs(data: DataSet) -> bool:
    listeners = np.diff(data.plays.indptr)
    return bool(((listeners > 0) & (listeners < LEAST_LISTENERS)).any())


def _has_truth(data: DataSet) -> bool:
    return (data.folder / TRUTH).exists()


def _has_cmfrec(_: DataSet) -> bool:
    return find_spec("cmfrec") is not None


def _trained(problem: Problem, config: BCLConfig, options: tuple[tuple[str, Any], ...]) -> Scorer:
    return towers.scorer(_towers(problem, config, options))


def _towers(
    problem: Problem, config: BCLConfig, options: tuple[tuple[str, Any], ...] = ()
) -> bcl_keras.models.BCLModel:
    """Trains each configuration once per split, however many rows use it."""
    key = _key(config, options)
    if key not in problem.shared:
        problem.shared[key] = towers.tower(problem, config, **dict(options))
    return problem.shared[key]


def _joined(problem: Problem, config: BCLConfig, options: tuple[tuple[str, Any], ...] = ()) -> Scorer:
    model, _ = towers.joined(problem, _towers(problem, config, options), **dict(options))
    if config == BCL and not options:
        problem.shared[RIDGE_AND_BCL] = model, options
    return towers.scorer(model)


def _best(problem: Problem, choices: tuple[BCLConfig, ...]) -> Scorer:
    """Joins each of our main configurations with the closed form and keeps the best by recall on validation songs.

    As in the pipeline, the closed form's recall on them says whether to learn from sparse songs.
    """
    helped = _has_sparse_songs(problem.data) and towers.sparse_songs_help(problem)
    options = tuple(SPARSE.items()) if helped else ()
    found = [towers.joined(problem, _towers(problem, config, options), **dict(options)) for config in choices]
    model = first_best(dict(found))
    problem.shared[BEST] = model, options
    return towers.scorer(model)


def show(problem: Problem) -> tuple[str, dict[str, Any]] | None:
    """Returns which joined model of a split is at hand, the best rather than another, and its gallery; nothing if none.

    The correlation shown is that of BCL's towers, trained on the same songs.
    """
    for name in (BEST, RIDGE_AND_BCL):
        if name in problem.shared:
            model, options = problem.shared[name]
            return name, gallery(problem, model, problem.shared[_key(BCL, options)])
    return None


def _key(config: BCLConfig, options: tuple[tuple[str, Any], ...] = ()) -> str:
    if config.correlation_mode == "last_batch":  # what no share of the old matrix is
        config = replace(config, correlation_mode="ewma", momentum=0.0)
    if not config.contrast_weight:  # then no setting of the contrastive task changes anything
        config = replace(BPR, **{name: getattr(config, name) for name in SUPERVISED})
    return f"{config} {options}"


ROWS = (
    Row("random", BASELINE, "any order", closed_form.random_order),
    Row("popularity", BASELINE, "songs with most listeners, for everyone alike", closed_form.popularity),
    Row("content cosine", BASELINE, "joined content, field weights chosen on validation", closed_form.content_cosine),
    Row("weighted count", BASELINE, "audiences of the 50 songs of nearest content", closed_form.weighted_count),
    Row("artist mean", BASELINE, "audiences of the artist's other songs", closed_form.artist_mean, _has_artists),
    Row(
        "ridge to factors",
        BASELINE,
        "content to SVD factors",
        partial(closed_form.ridge_to_factors, own=False),
        quick=False,
    ),
    Row(
        "ridge to own factors",
        BASELINE,
        "the same, candidates by their own factors",
        partial(closed_form.ridge_to_factors, own=True),
    ),
    Row("kernel ridge", BASELINE, "content to the rows of the audience similarities", closed_form.kernel_ridge),
    Row(
        "DropoutNet",
        BASELINE,
        "content and SVD factors, factors dropped (Volkovs et al.)",
        partial(published.dropout_net, settings=published.DROPOUT_NET),
        quick=False,
        lane=PUBLISHED_LANE,
    ),
    Row(
        "CLCRec",
        BASELINE,
        "InfoNCE of users, songs and content (Wei et al.)",
        partial(published.clcrec, settings=published.CLCREC),
        quick=False,
        lane=PUBLISHED_LANE,
    ),
    Row(
        "cmfrec",
        BASELINE,
        "collective factors of plays and content (Cortes); where cmfrec is installed",
        published.collective_factors,
        _has_cmfrec,
        quick=False,
        lane=PUBLISHED_LANE,
    ),
    Row(
        "TFRS two-tower",
        BASELINE,
        "sampled softmax, TFRS's own task",
        partial(published.tfrs_two_tower, settings=published.TFRS),
        quick=False,
        lane=PUBLISHED_LANE,
    ),
    Row(
        "TFRS two-tower, sparse songs",
        BASELINE,
        "the same, songs of one or two listeners as anchors too",
        partial(published.tfrs_two_tower, settings=published.TFRS, sparse=True),
        _has_sparse_songs,
        quick=False,
        lane=PUBLISHED_LANE,
    ),
    _tower("BPR only", "two towers, BPR with hard negatives and a margin", BPR, quick=True),
    _tower(
        "BCL, head, hard negatives, margin",
        "EWMA correlation, Gumbel-Max groups, V1, random mask, projection head; a linear encoder with hard negatives, "
        "a margin, a vector per song and input dropout, which the paper does not have",
        BEHIND_HEAD,
    ),
    _tower("BCL", "the same without the head: contrast on the embeddings that are served", BCL, quick=True),
    _grouped("BPR + RFM", "contrast over random groups (Yao et al.)", replace(BCL, grouping="uniform")),
    _grouped(
        "BPR + CFM",
        "contrast over the most correlated fields, static matrix (Yao et al.)",
        replace(BCL, grouping="top", correlation_mode="static"),
    ),
    _grouped("BCL, static matrix", "no bootstrapping", replace(BCL, correlation_mode="static")),
    _grouped("BCL, last batch", "alpha 0", replace(BCL, correlation_mode="last_batch")),
    _grouped("BCL, Gumbel off", "the most correlated fields, EWMA matrix", replace(BCL, grouping="top")),
    _tower("BCL, no operator", "views by grouping alone", replace(BCL, operators=())),
    _tower("BCL, span mask", "in place of the random mask", replace(BCL, operators=("span_mask",))),
    _tower("BCL, uniform noise", "in place of the random mask", replace(BCL, operators=("uniform_noise",))),
    _tower(
        "BCL, all operators",
        "random mask, span mask, uniform noise",
        replace(BCL, operators=("random_mask", "span_mask", "uniform_noise")),
    ),
    _tower("BCL, V2", "views that corrupt one group each", replace(BCL, views="corrupt")),
    _tower("BCL, catalogue", "contrast over cold songs' features too", BCL, contrast_over="catalogue"),
    _tower("BPR, field dropout", "fields withheld at random in BPR", replace(BPR, field_dropout=FIELD_DROPOUT)),
    _tower("BCL, field dropout", "both", replace(BCL, field_dropout=FIELD_DROPOUT)),
    _tower("softmax", "two towers, sampled softmax, no contrast", SOFTMAX, family=OURS),
    _tower(
        "softmax, field dropout",
        "the same, fields withheld at random",
        replace(SOFTMAX, field_dropout=FIELD_DROPOUT),
        family=OURS,
    ),
    Row(
        "audience ridge",
        OURS,
        "kernel ridge, candidates scaled, neighbours joined; 192 numbers a song",
        towers.audience_ridge,
    ),
    Row("ridge + BPR", OURS, "audience ridge plus the tower of `BPR only`", partial(_joined, config=BPR)),
    Row(RIDGE_AND_BCL, OURS, "audience ridge plus the tower of `BCL`", partial(_joined, config=BCL)),
    _sparse(_tower("BPR, sparse songs", "songs of one or two listeners as anchors too", BPR, OURS, **SPARSE)),
    _sparse(_tower("BCL, sparse songs", "the same", BCL, OURS, **SPARSE)),
    _sparse(
        Row(
            "audience ridge, sparse songs",
            OURS,
            "songs of one or two listeners as rows too",
            partial(towers.audience_ridge, sparse=True),
            quick=False,
        )
    ),
    _sparse(
        Row(
            "ridge + BCL, sparse songs",
            OURS,
            "both with songs of one or two listeners",
            partial(_joined, config=BCL, options=tuple(SPARSE.items())),
            quick=False,
        )
    ),
    Row("true taste", BASELINE, "the law of a simulated catalogue: the ceiling", closed_form.true_taste, _has_truth),
    Row(
        BEST,
        OURS,
        "audience ridge plus the tower of ours that validation songs choose, with sparse songs if they choose them",
        partial(_best, choices=CHOICES),
        quick=False,
        lane=SPARSE_LANE,
    ),
)


def _tower_rows(rows: tuple[Row, ...]) -> dict[str, str]:
    """The names of rows that train towers, by what they train."""
    fits = {row.name: row.fit.keywords for row in rows if isinstance(row.fit, partial) and row.fit.func is _trained}
    return {_key(given["config"], given["options"]): name for name, given in fits.items()}


def _varied(base: BCLConfig, setting: str, value: float) -> BCLConfig:
    changed: dict[str, Any] = {setting: value}
    return replace(base, **changed)


def _points() -> dict[str, dict[float, str]]:
    known = _tower_rows(ROWS)
    return {
        setting: {value: known.get(_key(_varied(base, setting, value)), f"{setting} {value}") for value in values}
        for setting, (_, base, values) in SWEEPS.items()
    }


#: Setting -> value -> the row that has it: one of the table where there is one.
SWEEP_POINTS = _points()
#: The rows of the sweeps that the table has not.
SWEEP_ROWS = tuple(
    (_grouped if setting in OF_THE_GROUPING else _tower)(
        f"{setting} {value}", what, _varied(base, setting, value), family=SWEEP
    )
    for setting, (what, base, values) in SWEEPS.items()
    for value in values
    if SWEEP_POINTS[setting][value] == f"{setting} {value}"
)
