"""Our rows: two towers with and without each part of the method, and what joins them with the closed form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from bcl_keras import BCLConfig
from bcl_keras.config import RidgeConfig
from benchmarks.quality import towers
from benchmarks.quality.draws import Search
from benchmarks.quality.row import JOINED_LANE, METHOD, OURS, SPARSE_LANE, Row, has_sparse_songs
from benchmarks.quality.tower_fits import BCL, BEST, BPR, PATIENT, RIDGE_AND_BCL, SPARSE, best, joined, trained
from benchmarks.quality.towers import Training
from benchmarks.targeting_study.datasets import DataSet

#: The contrast acts behind a projection head, as the paper has it; all else is as in `BCL`, so that the rows differ by
#: the head alone. It is not the paper's regime: see `regime_rows`.
BEHIND_HEAD = replace(BCL, projection_dim=64)
SOFTMAX = replace(BPR, supervised_loss="sampled_softmax")
FIELD_DROPOUT = 0.3
#: Validation songs choose one of these towers, which `best` joins with the closed form.
CHOICES = (
    BPR,
    BCL,
    replace(BCL, field_dropout=FIELD_DROPOUT),
    replace(SOFTMAX, field_dropout=FIELD_DROPOUT),
)
#: With fewer fields a group is one field, drawn uniformly: all groupings are one.
FIELDS_TO_GROUP = 4

_OF_TOWERS: dict[str, tuple[Any, ...]] = {
    "learning_rate": (1e-3, 2e-3, 5e-3, 1e-2),
    "temperature": (0.05, 0.1, 0.2),
    "input_dropout": (0.0, 0.3, 0.5),
    "plays_dropout": (0.3, 0.5, 0.7),
    "hidden_dims": ((), (256,)),
}
_OF_BPR: dict[str, tuple[Any, ...]] = {"margin": (0.0, 2.0, 5.0), "negative_hardness": (0.0, 1.0)}
OF_CONTRAST: dict[str, tuple[Any, ...]] = {
    "contrast_weight": (0.03, 0.1, 0.3, 1.0),
    "contrast_temperature": (0.05, 0.1, 0.2, 0.5),
}
_OF_FIELD_DROPOUT: dict[str, tuple[Any, ...]] = {"field_dropout": (0.15, 0.3, 0.5)}


def search_from(config: BCLConfig, *spaces: dict[str, tuple[Any, ...]]) -> Search:
    """Returns a search over all of some spaces that starts at a configuration."""
    space = {name: values for each in spaces for name, values in each.items()}
    return Search(space, {name: getattr(config, name) for name in space})


def tower_row(
    name: str,
    what: str,
    config: BCLConfig,
    family: str = METHOD,
    *,
    training: Training = PATIENT,
    quick: bool = False,
    search: Search | None = None,
    settings_from: str = "",
) -> Row:
    """Returns the row of towers alone."""
    lane = JOINED_LANE if config in (BPR, BCL) and training == PATIENT else name
    fit = partial(trained, config=config, training=training)
    return Row(name, family, what, fit, quick=quick, lane=lane, search=search, settings_from=settings_from)


def grouped_row(name: str, what: str, config: BCLConfig, family: str = METHOD, settings_from: str = "BCL") -> Row:
    """Returns a row that differs from another by how groups are drawn."""
    return replace(tower_row(name, what, config, family, settings_from=settings_from), usable=has_groups)


def has_groups(data: DataSet) -> bool:
    """Whether groups of fields can differ."""
    return len(data.fields) >= FIELDS_TO_GROUP


def _part(name: str, what: str, training: Training = PATIENT, **changed: Any) -> Row:
    """A row that differs from `BCL` by one part, and has its settings."""
    return tower_row(name, what, replace(BCL, **changed), training=training, settings_from="BCL")


def _sparse(row: Row) -> Row:
    """A row of ours that learns from songs of too few listeners to be candidates."""
    return replace(row, usable=has_sparse_songs, lane=SPARSE_LANE, quick=False)


def _ridge_and(name: str, what: str, config: BCLConfig, settings_from: str, training: Training = PATIENT) -> Row:
    return Row(name, OURS, what, partial(joined, config=config, training=training), settings_from=settings_from)


METHOD_ROWS = (
    tower_row(
        "BPR only",
        "two towers, BPR with hard negatives and a margin",
        BPR,
        quick=True,
        search=search_from(BPR, _OF_TOWERS, _OF_BPR),
    ),
    tower_row(
        "BCL, head, hard negatives, margin",
        "EWMA correlation, Gumbel-Max groups, V1, random mask, projection head; a linear encoder with hard negatives, "
        "a margin, a vector per song and input dropout, which the paper does not have",
        BEHIND_HEAD,
        search=search_from(BEHIND_HEAD, _OF_TOWERS, _OF_BPR, OF_CONTRAST),
    ),
    tower_row(
        "BCL",
        "the same without the head: contrast on the embeddings that are served",
        BCL,
        quick=True,
        search=search_from(BCL, _OF_TOWERS, _OF_BPR, OF_CONTRAST),
    ),
    grouped_row("BPR + RFM", "contrast over random groups (Yao et al.)", replace(BCL, grouping="uniform")),
    grouped_row(
        "BPR + CFM",
        "contrast over the most correlated fields, static matrix (Yao et al.)",
        replace(BCL, grouping="top", correlation_mode="static"),
    ),
    grouped_row("BCL, static matrix", "no bootstrapping", replace(BCL, correlation_mode="static")),
    grouped_row("BCL, last batch", "alpha 0", replace(BCL, correlation_mode="last_batch")),
    grouped_row("BCL, Gumbel off", "the most correlated fields, EWMA matrix", replace(BCL, grouping="top")),
    _part("BCL, no operator", "views by grouping alone", operators=()),
    _part("BCL, span mask", "in place of the random mask", operators=("span_mask",)),
    _part("BCL, uniform noise", "in place of the random mask", operators=("uniform_noise",)),
    _part(
        "BCL, all operators",
        "random mask, span mask, uniform noise",
        operators=("random_mask", "span_mask", "uniform_noise"),
    ),
    _part("BCL, V2", "views that corrupt one group each", views="corrupt"),
    _part(
        "BCL, catalogue",
        "contrast over cold songs' features too",
        training=Training(patient=True, contrast_over="catalogue"),
    ),
    tower_row(
        "BPR, field dropout",
        "fields withheld at random in BPR",
        replace(BPR, field_dropout=FIELD_DROPOUT),
        search=search_from(replace(BPR, field_dropout=FIELD_DROPOUT), _OF_TOWERS, _OF_BPR, _OF_FIELD_DROPOUT),
    ),
    tower_row(
        "BCL, field dropout",
        "both",
        replace(BCL, field_dropout=FIELD_DROPOUT),
        search=search_from(
            replace(BCL, field_dropout=FIELD_DROPOUT), _OF_TOWERS, _OF_BPR, OF_CONTRAST, _OF_FIELD_DROPOUT
        ),
    ),
)
OUR_ROWS = (
    tower_row(
        "softmax",
        "two towers, sampled softmax, no contrast",
        SOFTMAX,
        OURS,
        search=search_from(SOFTMAX, _OF_TOWERS),
    ),
    tower_row(
        "softmax, field dropout",
        "the same, fields withheld at random",
        replace(SOFTMAX, field_dropout=FIELD_DROPOUT),
        OURS,
        search=search_from(replace(SOFTMAX, field_dropout=FIELD_DROPOUT), _OF_TOWERS, _OF_FIELD_DROPOUT),
    ),
    Row(
        "audience ridge",
        OURS,
        f"kernel ridge, candidates scaled, neighbours joined; {RidgeConfig().rank} numbers a song",
        towers.audience_ridge,
    ),
    Row("audience ridge, 192", OURS, "the same, 192 numbers a song", partial(towers.audience_ridge, rank=192)),
    Row(
        "audience ridge, evened",
        OURS,
        "candidates that are close to everything count less",
        partial(towers.audience_ridge, evens=True),
    ),
    Row(
        "ridge + content",
        OURS,
        f"audience ridge plus plain content cosines, as a sketch of {towers.SKETCH} numbers a song",
        towers.ridge_and_content,
    ),
    _ridge_and("ridge + BPR", "audience ridge plus the tower of `BPR only`", BPR, "BPR only"),
    _ridge_and(RIDGE_AND_BCL, "audience ridge plus the tower of `BCL`", BCL, "BCL"),
    _sparse(
        tower_row(
            "BPR, sparse songs",
            "songs of one or two listeners as anchors too",
            BPR,
            OURS,
            training=SPARSE,
            settings_from="BPR only",
        )
    ),
    _sparse(tower_row("BCL, sparse songs", "the same", BCL, OURS, training=SPARSE, settings_from="BCL")),
    _sparse(
        Row(
            "audience ridge, sparse songs",
            OURS,
            "songs of one or two listeners as rows too",
            partial(towers.audience_ridge, sparse=True),
        )
    ),
    _sparse(
        _ridge_and("ridge + BCL, sparse songs", "both with songs of one or two listeners", BCL, "BCL", SPARSE),
    ),
)
BEST_ROW = Row(
    BEST,
    OURS,
    "audience ridge plus the tower of ours that validation songs choose, and the content of `ridge + content`, with "
    "sparse songs if they choose them, candidates evened",
    partial(best, choices=CHOICES),
    quick=False,
    lane=SPARSE_LANE,
)
