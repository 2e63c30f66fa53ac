"""The settings that a row is tried with: one budget for all rows, ours and others'."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Settings that every row is tried with, those it starts from included.
TRIALS = 20
#: The same in a quick run, whose figures are no evidence.
QUICK_TRIALS = 3

Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Search:
    """The settings of a row that are chosen on validation songs.

    Attributes:
        space: Values by name of the setting.
        start: One value of each, which is tried first.

    Raises:
        ValueError: If the start names other settings than the space.
    """

    space: Mapping[str, tuple[Any, ...]]
    start: Mapping[str, Any]

    def __post_init__(self) -> None:
        if set(self.start) != set(self.space):
            raise ValueError(f"Argument `start` must have {sorted(self.space)}. Received: {sorted(self.start)}")

    def draw(self, trials: int = TRIALS) -> list[Settings]:
        """Returns what is tried: the start, then other settings without repeats, the same on every call.

        Args:
            trials: Most settings; fewer if the space has fewer.
        """
        names = sorted(self.space)
        values = itertools.product(*(self.space[name] for name in names))
        grid = [tuple(zip(names, chosen, strict=True)) for chosen in values]
        first = tuple((name, self.start[name]) for name in names)
        order = np.random.default_rng(0).permutation(len(grid))
        return [first, *(grid[place] for place in order.tolist() if grid[place] != first)][:trials]
