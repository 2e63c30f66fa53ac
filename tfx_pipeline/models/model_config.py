"""Settings of the model and of the search for them, which `bcl_keras` checks, so Keras is imported."""

from __future__ import annotations

from dataclasses import dataclass, field

import bcl_keras
from tfx_pipeline.runtime.setting_checks import check_at_least


def measured_towers() -> bcl_keras.BCLConfig:
    """Returns the settings of the towers in the published results.

    They are the defaults of the library, and fields withheld at random in training. That helps songs which lack some.
    """
    return bcl_keras.BCLConfig(field_dropout=0.3)


@dataclass(frozen=True)
class SearchSpace:
    """The values that the Tuner draws from, for some settings of `bcl_keras.BCLConfig`, by their names there.

    `contrast_temperature` is the paper's tau, `contrast_weight` its lambda, `momentum` alpha, `update_every` k.
    """

    contrast_temperature: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)  # tau
    contrast_weight: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)  # lambda
    momentum: tuple[float, ...] = (0.5, 0.9, 0.99)  # alpha
    update_every: tuple[int, ...] = (1, 10, 100)  # k
    field_dropout: tuple[float, ...] = (0.0, 0.15, 0.3, 0.5)  # chance that a field is withheld
    learning_rate: tuple[float, ...] = (2e-3, 5e-3, 1e-2)  # of AdamW

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values:
                raise ValueError(f"Argument `{name}` must hold values to draw from. Received: none")
            for value in values:
                bcl_keras.BCLConfig(**{name: value})  # raises what is wrong with it before anything has run


@dataclass(frozen=True)
class TuningConfig:
    """Settings of the Tuner: a random search judged by recall on validation songs.

    Args:
        trials: Number of trainings. Each takes as long as that of the Trainer.
        space: The values to draw from.
        seed: Number from which they are drawn.
    """

    trials: int = 10
    space: SearchSpace = field(default_factory=SearchSpace)
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "trials")
