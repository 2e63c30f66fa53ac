"""The paper in its regime: what it has and our towers do not, and each of its choices varied.

An encoder with a hidden layer, plain BPR with one negative drawn uniformly and no margin, scores by inner product, no
vector per song, a contrast behind a head over views of groups of fields. The matrix of correlations is updated in every
step. Each cell has a search of its own.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

from bcl_keras import BCLConfig
from benchmarks.quality.draws import Search
from benchmarks.quality.field_forms import modality
from benchmarks.quality.row import REGIME, Row
from benchmarks.quality.tower_rows import OF_CONTRAST, has_groups, search_from, tower_row
from benchmarks.quality.towers import Training
from benchmarks.targeting_study.datasets import DataSet

HIDDEN, HEAD, INPUT_DROPOUT = 256, 64, 0.3
#: One negative for each pair, until validation songs gain no more; songs with an empty view take no part.
ONE_NEGATIVE = Training(patient=True, one_negative=True, all_shown=True)
#: The paper: hidden layer, contrast behind a head, no input dropout.
PAPER = BCLConfig(
    hidden_dims=(HIDDEN,),
    input_dropout=0.0,
    hidden_dropout=0.0,
    normalize=False,
    plays_part="none",
    supervised_loss="bpr",
    temperature=1.0,
    negative_hardness=0.0,
    margin=0.0,
    mask_accidental_hits=False,
    projection_dim=HEAD,
    update_every=1,
    learning_rate=2e-3,
)
PAPER_NAME = "paper: hidden, contrast behind head"
STRENGTHS = {"random_mask": (0.1, 0.3, 0.6), "span_mask": (0.1, 0.3, 0.6), "uniform_noise": (0.1, 0.5, 2.0)}
_OF_TASK: dict[str, tuple[Any, ...]] = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "weight_decay": (1e-4, 1e-3, 1e-2),
    "embedding_dim": (64, 128),
}


def _search(config: BCLConfig) -> Search:
    return search_from(config, _OF_TASK, *([OF_CONTRAST] if config.contrast_weight else []))


def _cell(hidden: bool, contrast: str, dropout: float) -> Row:
    """One cell: with or without a hidden layer, a contrast, its head, and input dropout."""
    config = replace(
        PAPER,
        hidden_dims=(HIDDEN,) if hidden else (),
        input_dropout=dropout,
        projection_dim=HEAD if contrast == "contrast behind head" else 0,
        contrast_weight=0.0 if contrast == "BPR alone" else PAPER.contrast_weight,
    )
    name = f"paper: {'hidden' if hidden else 'linear'}, {contrast}{', input dropout' if dropout else ''}"
    encoder = f"hidden layer of {HIDDEN}" if hidden else "linear encoder"
    what = f"BPR with one uniform negative, no vector per song, {encoder}, {contrast}, input dropout {dropout:g}"
    return tower_row(name, what, config, REGIME, training=ONE_NEGATIVE, search=_search(config))


#: A head without a contrast is nothing, so that of sixteen cells twelve differ.
CELLS = tuple(
    _cell(hidden, contrast, dropout)
    for hidden, contrast, dropout in product(
        (True, False), ("contrast behind head", "contrast", "BPR alone"), (0.0, INPUT_DROPOUT)
    )
)


def _varied(name: str, what: str, training: Training = ONE_NEGATIVE, /, **changed: Any) -> Row:
    """The paper's cell with one part changed, and its settings."""
    config = replace(PAPER, **changed)
    return tower_row(f"paper: {name}", what, config, REGIME, training=training, settings_from=PAPER_NAME)


def _modalities(data: DataSet) -> bool:
    return len({modality(field.name) for field in data.fields}) > 1


GROUPINGS = (
    _varied("random groups", "contrast over random groups", grouping="uniform"),
    _varied("top groups", "the most correlated fields, EWMA matrix", grouping="top"),
    _varied("static matrix", "no bootstrapping", correlation_mode="static"),
    _varied("slow matrix", "alpha .99, updated in every step", momentum=0.99),
    _varied("V2", "views that corrupt one group each", views="corrupt"),
    _varied(
        "numbers joined",
        "the single numbers of a modality as one field",
        replace(ONE_NEGATIVE, fields="numbers joined"),
    ),
    _varied(
        "numbers joined, random groups",
        "the same, over random groups",
        replace(ONE_NEGATIVE, fields="numbers joined"),
        grouping="uniform",
    ),
)
OF_MODALITIES = _varied(
    "modalities", "one field per modality: attributes, audio, lyrics", replace(ONE_NEGATIVE, fields="modalities")
)
TRAININGS = (
    _varied(
        "empty views as negatives",
        "songs with an empty view are negatives of others",
        replace(ONE_NEGATIVE, all_shown=False),
    ),
    _varied("anchors as played", "anchors drawn as often as they are played", replace(ONE_NEGATIVE, as_played=True)),
    tower_row(
        "paper: anchors as played, BPR alone",
        "the same without contrast",
        replace(PAPER, contrast_weight=0.0),
        REGIME,
        training=replace(ONE_NEGATIVE, as_played=True),
        settings_from="paper: hidden, BPR alone",
    ),
)
OPERATORS = (
    _varied("no operator", "views by grouping alone", operators=()),
    *(
        _varied(
            f"{operator.replace('_', ' ')} {strength:g}",
            "this operator alone, no other dropout",
            ONE_NEGATIVE,
            operators=(operator,),
            noise_scale=strength if operator == "uniform_noise" else PAPER.noise_scale,
            mask_rate=PAPER.mask_rate if operator == "uniform_noise" else strength,
        )
        for operator, strengths in STRENGTHS.items()
        for strength in strengths
    ),
)
REGIME_ROWS = (
    *CELLS,
    *(replace(row, usable=has_groups) for row in GROUPINGS),
    replace(OF_MODALITIES, usable=_modalities),
    *TRAININGS,
    *OPERATORS,
)
