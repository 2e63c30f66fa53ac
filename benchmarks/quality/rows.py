"""Every row of the table by name, and the sweeps of the paper's free settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bcl_keras import BCLConfig
from benchmarks.quality.baseline_rows import CEILING, CLOSED_FORMS, TRAINED, UNTRAINED
from benchmarks.quality.regime_rows import REGIME_ROWS
from benchmarks.quality.row import SWEEP, Row
from benchmarks.quality.tower_fits import BCL, BEST, BPR, RIDGE_AND_BCL, key_of, show
from benchmarks.quality.tower_rows import BEST_ROW, METHOD_ROWS, OUR_ROWS, grouped_row, tower_row

__all__ = ["BEST", "RIDGE_AND_BCL", "ROWS", "SWEEP", "SWEEPS", "SWEEP_POINTS", "SWEEP_ROWS", "Row", "show"]

ROWS: tuple[Row, ...] = (
    *UNTRAINED,
    *CLOSED_FORMS,
    *TRAINED,
    *METHOD_ROWS,
    *REGIME_ROWS,
    *OUR_ROWS,
    CEILING,
    BEST_ROW,
)
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


def _varied(base: BCLConfig, setting: str, value: float) -> BCLConfig:
    changed: dict[str, Any] = {setting: value}
    return replace(base, **changed)


#: What sweeps vary from. A row of the table may have other settings, found for its data set.
_BASES = {key_of(BPR): "BPR, default settings", key_of(BCL): "BCL, default settings"}
#: Setting -> value -> the row that has it.
SWEEP_POINTS = {
    setting: {value: _BASES.get(key_of(_varied(base, setting, value)), f"{setting} {value}") for value in values}
    for setting, (_, base, values) in SWEEPS.items()
}
SWEEP_ROWS = (
    *(tower_row(_BASES[key_of(base)], "what the sweeps vary from", base, family=SWEEP) for base in (BPR, BCL)),
    *(
        (grouped_row if setting in OF_THE_GROUPING else tower_row)(
            f"{setting} {value}", what, _varied(base, setting, value), family=SWEEP, settings_from=""
        )
        for setting, (what, base, values) in SWEEPS.items()
        for value in values
        if SWEEP_POINTS[setting][value] == f"{setting} {value}"
    ),
)
