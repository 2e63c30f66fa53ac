"""Every number of the pipeline in one place; runner scripts only bind paths."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import bcl_keras
from tfx_pipeline.audience import AudienceConfig
from tfx_pipeline.cold_split import ColdSplit
from tfx_pipeline.data_gate import DataGateConfig
from tfx_pipeline.targeting.config import TargetingConfig


@dataclass(frozen=True)
class TransformConfig:
    """Settings of the Transform step.

    Args:
        min_frequency: Warm songs in which a category must occur to have an id of its own.
        max_vocabulary: Most ids of one field.
    """

    min_frequency: int = 2
    max_vocabulary: int = 200_000


@dataclass(frozen=True)
class TrainingConfig:
    """What the Trainer draws from the similar songs; the rest of training is in `bcl_keras.BCLConfig`.

    Args:
        positives: Similar songs of an anchor that may be its positive.
        anchor_popularity_power: 0 draws anchors uniformly, 1 as often as they are played.
    """

    positives: int = 20
    anchor_popularity_power: float = 0.0


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the evaluation on cold songs.

    Args:
        truth: Warm songs of most similar audience that count as relevant.
        k: Length of the ranking judged.
        min_gain: Share by which the model's recall@k on validation songs must exceed that of content cosine, to be
            blessed.
        min_difference: The same as a difference of recalls; both must hold.
        min_gain_last: Share by which it must exceed that of the model pushed last, if there is one. Below 0: a model of
            today's data may be worse by chance, and is still the one to serve.
        min_gain_last_slice: The same within each slice of the songs (`evaluation.slices`).
        bootstrap: Resamples of the confidence intervals.
        seed: Of the random row and of the resamples.
    """

    truth: int = 20
    k: int = 50
    min_gain: float = 0.0
    min_difference: float = 0.0
    min_gain_last: float = -0.05
    min_gain_last_slice: float = -0.2
    bootstrap: int = 1000
    seed: int = 0


def one_machine_targeting() -> TargetingConfig:
    """Returns the targeting settings for a runner that keeps all it shuffles in memory.

    An audience is sent once to every shard of cold songs that needs it, so fewer shards mean less to keep. The rule is
    the default of `TargetingConfig`, which validation songs chose: see `benchmarks/targeting.py choose`.
    """
    return TargetingConfig(songs_per_shard=2048)


def evident_model() -> bcl_keras.BCLConfig:
    """Returns the towers' settings that `benchmarks/quality` speaks for.

    Withheld fields and the contrastive task cost nothing on songs with all fields and help those that lack some.
    """
    return bcl_keras.BCLConfig(contrast_weight=0.3, field_dropout=0.3)


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of the pipeline.

    Attributes:
        ridge: Of the closed form whose scores are joined to the towers'; None serves the towers alone.
        song_ids: What the served model's ids are, `"string"` or `"int64"` (every song id must then be a whole number).
    """

    data_gate: DataGateConfig = field(default_factory=DataGateConfig)
    split: ColdSplit = field(default_factory=ColdSplit)
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    model: bcl_keras.BCLConfig = field(default_factory=evident_model)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    ridge: bcl_keras.models.RidgeConfig | None = field(default_factory=bcl_keras.models.RidgeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    targeting: TargetingConfig = field(default_factory=one_machine_targeting)
    song_ids: Literal["string", "int64"] = "string"


def to_json(settings: Any) -> str:
    """Returns a settings dataclass, or None, as JSON in a fixed order, so that equal settings are equal cache keys."""
    return json.dumps(None if settings is None else dataclasses.asdict(settings), sort_keys=True)
