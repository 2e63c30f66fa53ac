"""What a simulated catalogue knows about itself: the correlation of its fields, by release period."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tfx_pipeline.datasets.simulation.songs import SongBlock
from tfx_pipeline.datasets.simulation.world import FIELDS, GROUPS, Array, World

# Enough songs for a deviation of about .02; the cost grows with the square.
SAMPLE = 800


def distance_correlation(fields: list[Array]) -> Array:
    """Returns the (F, F) matrix of distance correlations between F arrays (n, d_f).

    sqrt(dCov2(f, g) / sqrt(dCov2(f, f) dCov2(g, g))), 0 for a constant field: the bias-corrected (U-centred) form, in
    float64; what bias correction makes negative is 0.

    References: Szekely and Rizzo, "Partial distance correlation with methods for dissimilarities", 2014.
    """
    centred = np.stack([_centred(np.asarray(values, np.float64)).ravel() for values in fields])
    covariance = centred @ centred.T
    scale = np.sqrt(np.maximum(np.diag(covariance), 0))
    product = np.outer(scale, scale)
    squared = np.divide(covariance, product, out=np.zeros_like(covariance), where=product > 0)
    return np.asarray(np.sqrt(np.clip(squared, 0, 1)))


def _centred(values: Array) -> Array:
    """Returns the U-centred matrix of distances between rows."""
    squares = (values**2).sum(axis=1)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * values @ values.T, 0))
    np.fill_diagonal(distance, 0)
    count = len(values)
    rows = distance.sum(axis=1)
    centred = distance - (rows[:, None] + rows[None, :]) / (count - 2) + rows.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(centred, 0)
    return np.asarray(centred)


@dataclass
class TruthSample:
    """The first `SAMPLE` songs of each release period, with the values that the data may lack."""

    world: World
    rows: list[dict[str, list[Array]]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        names = ["taste", *(model.field.name for model in FIELDS)]
        self.rows = [{name: [] for name in names} for _ in range(self.world.settings.periods)]
        self.counts = [0] * self.world.settings.periods

    def add(self, block: SongBlock) -> None:
        """Takes what is still wanted from a block."""
        period = np.minimum((block.released * len(self.rows)).astype(int), len(self.rows) - 1)
        for index, rows in enumerate(self.rows):
            chosen = np.flatnonzero(period == index)[: SAMPLE - self.counts[index]]
            self.counts[index] += len(chosen)
            for name, parts in rows.items():
                parts.append((block.taste if name == "taste" else block.shown[name])[chosen])

    def matrices(self) -> tuple[Array, Array]:
        """Returns the field correlation (periods, F, F) and each field's correlation with taste (periods, F).

        A period with fewer than 4 songs has NaN.
        """
        size = len(FIELDS) + 1
        whole = np.full((len(self.rows), size, size), np.nan)
        for index, rows in enumerate(self.rows):
            if self.counts[index] >= 4:
                whole[index] = distance_correlation([np.concatenate(parts) for parts in rows.values()])
        return whole[:, 1:, 1:], whole[:, 0, 1:]

    def group_share(self) -> Array:
        """Returns r of each group in the middle of each period, (periods, groups)."""
        middles = (np.arange(len(self.rows)) + 0.5) / len(self.rows)
        return np.stack([self.world.group_share(group, middles) for group in GROUPS], axis=1)
