"""What the Tuner and the Trainer are told, each as one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import bcl_keras
from tfx_pipeline.contract.fields import SongField
from tfx_pipeline.contract.splits import ColdSplit
from tfx_pipeline.models.config import TrainingConfig
from tfx_pipeline.models.model_config import TuningConfig


@dataclass(frozen=True)
class FittingSettings:
    """What every step is told that fits the towers.

    Attributes:
        fields: The fields of songs.
        model: The towers and their training.
        training: What is drawn from the similar songs.
        max_values: As in `TransformConfig`.
    """

    fields: tuple[SongField, ...]
    model: bcl_keras.BCLConfig
    training: TrainingConfig
    max_values: int


@dataclass(frozen=True)
class TunerSettings(FittingSettings):
    """What the Tuner is told.

    Attributes:
        tuning: The search.
    """

    tuning: TuningConfig


@dataclass(frozen=True)
class TrainerSettings(FittingSettings):
    """What the Trainer is told, and the Trainer of the model that is served.

    Attributes:
        ridge: The closed form. None for the towers alone.
        split: The rule that held songs out. It is recorded with the model.
        song_ids: As in `PipelineConfig`.
        explain: As in `PipelineConfig`.
    """

    ridge: bcl_keras.models.RidgeConfig | None
    split: ColdSplit
    song_ids: Literal["string", "int64"]
    explain: bool
