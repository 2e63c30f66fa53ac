"""Why a model must not be pushed: the margins of recall that it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tfx_pipeline.contract.splits import VALIDATION
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.retrieval import CONTENT_COSINE, LAST, MODEL, SplitReport

#: Means of recalls in float32 that differ by no more are equal.
_ROUNDING = 1e-6


def refusals(reports: Mapping[str, SplitReport], config: EvaluationConfig) -> list[str]:
    """Returns why the model must not be pushed, by its recall on validation songs; an empty list if it may."""
    if VALIDATION not in reports:
        return ["no validation song shares a listener with a warm song: nothing to judge by"]
    report = reports[VALIDATION]
    recalls = {name: row[f"recall@{config.k}"].mean for name, row in report.rows.items()}
    by_slice = {
        f", {name}": {row: estimate.mean for row, estimate in rows.items()} for name, rows in report.slices.items()
    }
    needed = list(_above(CONTENT_COSINE, {"": recalls}, config.min_gain, config.min_difference))
    if config.min_gain_slice is not None:
        needed += _above(CONTENT_COSINE, by_slice, config.min_gain_slice, None)
    if LAST in recalls:
        needed += _above(LAST, {"": recalls}, config.min_gain_last, config.min_difference_last)
        needed += _above(LAST, by_slice, config.min_gain_last_slice, None)
    return [f"recall@{config.k}{reason}" for reason in needed]


def _above(
    rival: str, recalls: Mapping[str, Mapping[str, float]], gain: float, difference: float | None
) -> Iterator[str]:
    """Yields where the model's recall does not exceed that of another row by the margin.

    Args:
        rival: The other row.
        recalls: Recall of each row, by the words that say where.
        gain: Margin as a share of the other row's recall.
        difference: Margin as a difference of recalls; None for none.
    """
    for where, by_row in recalls.items():
        model, other = by_row[MODEL], by_row[rival]
        needed = max(other * (1 + gain), other + (float("-inf") if difference is None else difference))
        # Beside the last model it is enough not to be worse by the margin. A tie with content cosine is not a gain.
        if model < needed - _ROUNDING or (model <= needed + _ROUNDING and rival == CONTENT_COSINE):
            yield f"{where}: expected over {needed:.4f} ({rival} {other:.4f}). Received: {model:.4f}"
