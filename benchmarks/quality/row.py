"""One row of the table: what it is, how it is fitted, and which of its settings are searched for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.quality.draws import Search
from benchmarks.quality.found_settings import settings_of
from benchmarks.quality.problem import LEAST_LISTENERS
from benchmarks.quality.scorer import Scorer
from benchmarks.results_pages import RESULTS
from benchmarks.targeting_study.datasets import DataSet

BASELINE, METHOD, OURS = "baseline", "the paper's method and its parts", "ours beyond the paper"
REGIME, SWEEP = "the paper in its regime", "sweep"
#: Rows of one lane share what they fit, so they run in one process: closed forms and what joins them, the same with
#: sparse songs, the published models. A row without a lane shares nothing.
JOINED_LANE, SPARSE_LANE, PUBLISHED_LANE = "joined", "sparse", "published"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: As printed.
        family: Which part of the table.
        what: One line on what it is, its loss and where it comes from.
        fit: Returns the scorer of a split; takes the settings of the search as keywords.
        usable: Whether a data set has what the row needs.
        quick: Whether `--quick` has it.
        lane: Which rows it shares with what it fits.
        search: The settings that `benchmarks.quality.tuning` searches for; None for none.
        settings_from: The row whose found settings it has: its own, or the row that it differs from by one part.
    """

    name: str
    family: str
    what: str
    fit: Callable[..., Scorer]
    usable: Callable[[DataSet], bool] = lambda _: True
    quick: bool = True
    lane: str = JOINED_LANE
    search: Search | None = None
    settings_from: str = ""

    @property
    def settings(self) -> str:
        """What the row is fitted with, as text: results of other settings are not this row's."""
        return repr(sorted(self.fit.keywords.items())) if isinstance(self.fit, partial) else ""

    def on(self, data: str, results: Path = RESULTS) -> Row:
        """Returns the row with the settings that were found for it on a data set, if there was a search.

        Args:
            data: Name of the data set.
            results: Folder of the kept results.
        """
        source = self.settings_from or (self.name if self.search else "")
        found = settings_of(data, source, results) if source else {}
        return replace(self, fit=partial(self.fit, **found)) if found else self


def has_sparse_songs(data: DataSet) -> bool:
    """Whether some songs have a listener, but too few to be candidates."""
    listeners = np.diff(data.plays.indptr)
    return bool(((listeners > 0) & (listeners < LEAST_LISTENERS)).any())
