"""The table of losses: one row for each epoch, one column for each loss or metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tfx_pipeline.reports.html import table


def losses_table(history: Mapping[str, Sequence[float]]) -> str:
    """Returns the table as HTML.

    Args:
        history: Values after each epoch, by the name of the loss or metric, as Keras records them.
    """
    epochs = len(next(iter(history.values()), []))
    lines = [[str(epoch + 1), *(f"{values[epoch]:.4f}" for values in history.values())] for epoch in range(epochs)]
    return table(["epoch", *history], lines)
