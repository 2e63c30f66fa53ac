"""What a fitted row answers: which warm songs share an audience with a song, and who listens to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from benchmarks.quality.encoding import Encoding

#: (songs, encoding) -> (songs, warm songs) scores, larger is better. `songs` are rows of the data set.
Scorer = Callable[[np.ndarray, Encoding], np.ndarray]


@runtime_checkable
class ListenerScorer(Protocol):
    """A scorer that ranks listeners by a rule of its own; a scorer without one gets the weighted count of its matches.

    `listeners` is asked about a block of songs at a time, because (songs, users) of a whole data set may not fit.
    """

    def __call__(self, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Returns (songs, warm songs) scores."""

    def listeners(self, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Returns (songs, users) scores, finite, larger is better; users are the columns of `Problem.plays`."""


@dataclass(frozen=True)
class WithListeners:
    """A scorer made of two functions, such as a song tower against songs and against a user tower.

    Attributes:
        similar: Scores of warm songs.
        of_listeners: Scores of users.
    """

    similar: Scorer
    of_listeners: Scorer

    def __call__(self, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Returns (songs, warm songs) scores."""
        return self.similar(songs, encoding)

    def listeners(self, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        """Returns (songs, users) scores."""
        return self.of_listeners(songs, encoding)
