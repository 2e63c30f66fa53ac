"""A training stream whose contrastive batches pass the catalogue in its order."""

from __future__ import annotations

from typing import Any

import numpy as np

import bcl_keras

#: Steps in which the window passes the whole catalogue once.
STEPS_PER_PASS = 400


class InOrder(bcl_keras.data.PairStream):
    """Draws the contrastive batch from a window of the catalogue that moves on with every step.

    Args:
        order: (rows,) rows of the catalogue in their order.
        window: Share of the rows in the window.
        *arguments: Of `PairStream`.
        **settings: Of `PairStream`.
    """

    def __init__(self, order: np.ndarray, window: float, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.order, self.window = order, window

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        """Returns one batch."""
        (batch,) = super().__getitem__(index)
        if "contrast" in batch:
            rng = np.random.default_rng((self.seed, self.epoch, index, 1))
            rows = self.rows_at(self.epoch * self.steps_per_epoch + index)
            batch["contrast"] = rng.choice(rows, self.batch_size, replace=len(rows) < self.batch_size).astype("int32")
        return (batch,)

    def rows_at(self, step: int) -> np.ndarray:
        """Returns the rows in the window at a step; after the last row the first ones follow."""
        width = max(2, round(self.window * len(self.order)))
        start = int(step / STEPS_PER_PASS % 1 * len(self.order))
        return self.order[(start + np.arange(width)) % len(self.order)]
