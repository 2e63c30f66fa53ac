"""Training until validation songs gain no more: the same rule for every trained row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from bcl_keras.evaluation.choices import is_better
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import worth

#: Steps between looks at the validation songs.
ROUND = 100
#: Looks without a gain after which training stops.
PATIENCE = 6
#: Most steps; a row that still gains is trained for at least 2,000.
MOST_STEPS = 6000


class StopsWithoutGain(keras.callbacks.Callback):
    """Stops Keras's training by the same rule, an epoch for a round; training ends with the best weights.

    Args:
        measure: Returns what the weights are worth.
    """

    def __init__(self, measure: Callable[[], float]) -> None:
        super().__init__()
        self.measure, self.best, self.since = measure, -1.0, 0
        self._kept: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, keeps the weights if they are the best, and stops after `PATIENCE` rounds without a gain."""
        found, self.since = self.measure(), self.since + 1
        if is_better(found, self.best):
            self.best, self.since = found, 0
            self._kept = [np.array(weight) for weight in self.model.trainable_variables]
        self.model.stop_training = self.since >= PATIENCE

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the best weights back."""
        for variable, value in zip(self.model.trainable_variables, self._kept, strict=True):
            variable.assign(value)


def train(
    problem: Problem, step: Callable[[], object], scorer: Callable[[], Scorer], weights: Callable[[], Sequence[Any]]
) -> Scorer:
    """Returns the scorer of the weights that were worth most on the validation songs (`worth`).

    Args:
        problem: The split; its `epochs`, if given, are the most rounds.
        step: Draws a batch and trains on it.
        scorer: Returns a scorer of the weights as they are.
        weights: Returns the variables that training changes.
    """
    best, since, kept = -1.0, 0, []
    for _ in range(min(MOST_STEPS // ROUND, problem.epochs or MOST_STEPS)):
        for _ in range(ROUND):
            step()
        found, since = worth(problem, scorer()), since + 1
        if is_better(found, best):
            best, since, kept = found, 0, [np.array(weight) for weight in weights()]
        if since >= PATIENCE:
            break
    for weight, value in zip(weights(), kept, strict=True):
        weight.assign(value)
    return scorer()


def batches(count: int, size: int, seed: int) -> Callable[[], np.ndarray]:
    """Returns a function that returns the next batch of `range(count)`: every number once, then in another order."""
    rng = np.random.default_rng(seed)
    order, place = rng.permutation(count), 0

    def following() -> np.ndarray:
        nonlocal order, place
        if place + size > len(order):
            order, place = rng.permutation(count), 0
        place += size
        return order[place - size : place]

    return following
