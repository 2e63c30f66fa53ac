"""All settings of the pipeline: those of every room, joined. Runner scripts only bind paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import bcl_keras
from tfx_pipeline.contract.column_names import ColumnNames
from tfx_pipeline.contract.plays_check import CheckConfig
from tfx_pipeline.contract.splits import ColdSplit
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.gates.data_drift import DataGateConfig
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.models.config import TrainingConfig, TransformConfig
from tfx_pipeline.models.model_config import TuningConfig, measured_towers
from tfx_pipeline.runtime.settings_codec import with_changes
from tfx_pipeline.runtime.settings_file import read_object
from tfx_pipeline.targeting.config import TargetingConfig, pipeline_targeting
from tfx_pipeline.tfx_extensions.push_config import PushConfig


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of the pipeline.

    Attributes:
        columns: Column names of the user's own.
        check: How the input is checked.
        data_gate: How much the data may differ from that of the last pushed run.
        split: Which songs are new, and which are held out.
        audience: How plays become similar songs.
        transform: How raw songs become the model's inputs.
        model: The towers and their training.
        training: What the Trainer draws from the similar songs.
        ridge: The closed form, whose scores are joined to those of the towers. None serves the towers alone.
        tuning: The search for settings of the towers before they are trained. None trains with `model` as it is.
        evaluation: How the model is judged, and what it needs to be pushed.
        push: Which versions go from the folder of the served versions when a version is pushed.
        targeting: How new songs get their target listeners.
        song_ids: What the ids of the served model are, `"string"` or `"int64"`. With `"int64"`, every song id must be a
            whole number.
        refit: What is served once the model has been judged on the songs held out. `"train"`: a model fitted again on
            all songs with the settings chosen, at the cost of a second training. `"index"`: the judged model, with the
            held-out songs in its index by their content; it has learnt nothing from their plays. `"off"`: the judged
            model as it is, which never matches a held-out song.
        refit_overlap: The least share of the first `evaluation.k` matches of songs, on average, that the judged and the
            served model must have in common for a push.
        explain: Whether the served model has a signature `explain`, which returns matches, and what each block of
            fields gives to their scores. The matches of the run itself have that in any case.
    """

    columns: ColumnNames = field(default_factory=ColumnNames)
    check: CheckConfig = field(default_factory=CheckConfig)
    data_gate: DataGateConfig = field(default_factory=DataGateConfig)
    split: ColdSplit = field(default_factory=ColdSplit)
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    model: bcl_keras.BCLConfig = field(default_factory=measured_towers)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    ridge: bcl_keras.models.RidgeConfig | None = field(default_factory=bcl_keras.models.RidgeConfig)
    tuning: TuningConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    push: PushConfig = field(default_factory=PushConfig)
    targeting: TargetingConfig = field(default_factory=pipeline_targeting)
    song_ids: Literal["string", "int64"] = "string"
    refit: Literal["train", "index", "off"] = "train"
    refit_overlap: float = 0.5
    explain: bool = False

    def __post_init__(self) -> None:
        if self.refit not in ("train", "index", "off"):
            raise ValueError(f"Argument `refit` must be 'train', 'index' or 'off'. Received: {self.refit!r}")
        if not 0 <= self.refit_overlap <= 1:
            raise ValueError(f"Argument `refit_overlap` must be between 0 and 1. Received: {self.refit_overlap!r}")
        if self.song_ids not in ("string", "int64"):
            raise ValueError(f"Argument `song_ids` must be 'string' or 'int64'. Received: {self.song_ids!r}")


def read_settings(file: Path) -> PipelineConfig:
    """Reads settings from JSON: `{"model": {"epochs": 5}, "ridge": null}`. What it does not name keeps its default.

    Raises:
        SettingsError: If the file is no JSON object, or names an unknown setting, or a value it cannot have.
    """
    return with_changes(PipelineConfig(), read_object(file), str(file))
