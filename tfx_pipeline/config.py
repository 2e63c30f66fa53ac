"""Every number of the pipeline in one place; runner scripts only bind paths."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import bcl_keras
from tfx_pipeline.contract.splits import ColdSplit
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.gates.data_drift import DataGateConfig
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.runtime.beam_options import has_workers
from tfx_pipeline.runtime.setting_checks import check_at_least
from tfx_pipeline.runtime.settings_file import SettingsError, read_object
from tfx_pipeline.targeting.config import NEW_SONGS_PER_LISTENER, TargetingConfig

#: That are learnt from: each is a row of the closed form, 16 KiB with all landmarks.
MOST_SPARSE_SONGS = 20_000


@dataclass(frozen=True)
class TrainingConfig:
    """What the Trainer draws from the similar songs; the rest of training is in `bcl_keras.BCLConfig`.

    Args:
        positives: Similar songs of an anchor that may be its positive.
        anchor_popularity_power: 0 draws anchors uniformly, 1 as often as they are played.
        sparse_per_warm: Most new songs with some listener that are learnt from, for every warm song;
            drawn where there are more, at most 20,000. 0 learns from warm songs alone, and so does the Trainer where
            the closed form finds less of what validation songs are similar to with them.
    """

    positives: int = 20
    anchor_popularity_power: float = 0.5
    sparse_per_warm: float = 3.0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "positives")
        check_at_least(self, 0, "anchor_popularity_power", "sparse_per_warm")


@dataclass(frozen=True)
class SearchSpace:
    """Settings of `bcl_keras.BCLConfig`, by their names there, and the values that the Tuner draws from.

    `contrast_temperature` is the paper's tau, `contrast_weight` its lambda, `momentum` alpha, `update_every` k.
    """

    contrast_temperature: tuple[float, ...] = (0.05, 0.1, 0.2, 0.5)
    contrast_weight: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    momentum: tuple[float, ...] = (0.5, 0.9, 0.99)
    update_every: tuple[int, ...] = (1, 10, 100)
    field_dropout: tuple[float, ...] = (0.0, 0.15, 0.3, 0.5)
    learning_rate: tuple[float, ...] = (2e-3, 5e-3, 1e-2)

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values:
                raise ValueError(f"Argument `{name}` must hold values to draw from. Received: none")
            # Keras Tuner takes values of one type; JSON writes 0.0 as 0.
            cast = type(getattr(SearchSpace, name)[0])
            if cast is float:
                object.__setattr__(self, name, tuple(float(value) for value in values))
            for value in values:
                bcl_keras.BCLConfig(**{name: value})  # says what is wrong before anything has run


@dataclass(frozen=True)
class TuningConfig:
    """Settings of the Tuner: a random search judged by recall on validation songs.

    Args:
        trials: Trainings; as long as the Trainer's each.
        space: What is drawn.
        seed: Of the draws.
    """

    trials: int = 10
    space: SearchSpace = field(default_factory=SearchSpace)
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "trials")


def targeting_of_engine() -> TargetingConfig:
    """Returns the default targeting settings of the Beam engine that the environment names (`beam_options`).

    Several workers need shards to share out: they get the defaults of `TargetingConfig`. This process keeps all that it
    shuffles in memory. A song's vector is sent to every shard of listeners who play it, and a listener's to every shard
    of cold songs whose matches they play, so few and large shards mean less to keep (docs/results/speed-and-scale.md).
    The rule is the default of `TargetingConfig`, which validation songs chose: see `benchmarks/targeting.py choose`.

    A listener gets at most `NEW_SONGS_PER_LISTENER` songs of a run; `benchmarks/targeting.py cap` says what that costs.
    """
    if has_workers():
        return TargetingConfig(cap=NEW_SONGS_PER_LISTENER)
    return TargetingConfig(cap=NEW_SONGS_PER_LISTENER, songs_per_shard=8192, plays_per_shard=1_000_000)


def evident_model() -> bcl_keras.BCLConfig:
    """Returns the towers' settings that `benchmarks/quality` speaks for.

    The library's defaults, and fields withheld at random, which help songs that lack some.
    """
    return bcl_keras.BCLConfig(field_dropout=0.3)


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of the pipeline.

    Attributes:
        ridge: Of the closed form whose scores are joined to the towers'; None serves the towers alone.
        tuning: Of the search for the towers' settings before they are trained; None trains with `model` as it is.
        song_ids: What the served model's ids are, `"string"` or `"int64"` (every song id must then be a whole number).
        refit: What is served once the model has been judged on the songs held out. `"train"`: a model fitted again on
            all songs with the settings chosen, at the cost of a second training. `"index"`: the judged model, with the
            held-out songs in its index by their content; it has learnt nothing from their plays. `"off"`: the judged
            model as it is, which never matches a held-out song.
        refit_overlap: The least share of the first `evaluation.k` matches of songs, on average, that the judged and the
            served model must have in common for a push.
        explain: Whether the served model has a signature `explain`: matches, and what each block of fields gives to
            their scores. The run's own matches come with that in any case.
    """

    data_gate: DataGateConfig = field(default_factory=DataGateConfig)
    split: ColdSplit = field(default_factory=ColdSplit)
    audience: AudienceConfig = field(default_factory=AudienceConfig)
    transform: TransformConfig = field(default_factory=TransformConfig)
    model: bcl_keras.BCLConfig = field(default_factory=evident_model)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    ridge: bcl_keras.models.RidgeConfig | None = field(default_factory=bcl_keras.models.RidgeConfig)
    tuning: TuningConfig | None = None
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    targeting: TargetingConfig = field(default_factory=targeting_of_engine)
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


#: Sections that may be absent, and what they start from where a file names them.
_OPTIONAL = {"ridge": bcl_keras.models.RidgeConfig, "tuning": TuningConfig}


def read_settings(file: Path) -> PipelineConfig:
    """Reads settings from JSON: `{"model": {"epochs": 5}, "ridge": null}`. What it does not name keeps its default.

    Raises:
        SettingsError: If the file is no JSON object, or names an unknown setting, or a value it cannot have.
    """
    return _changed(PipelineConfig(), read_object(file), str(file), "")


def _changed(config: Any, given: Any, file: str, place: str) -> Any:
    """Returns the dataclass with the given values, section by section; lists stand for tuples."""
    if not isinstance(given, dict):
        raise SettingsError(f"{file}: {place or 'the whole'}: expected an object of settings. Received: {given!r}")
    known = {f.name: f.type for f in dataclasses.fields(config)}
    changes = {}
    for name, value in given.items():
        where = f"{place}.{name}" if place else name
        if name not in known:
            raise SettingsError(f"{file}: {where}: expected one of {sorted(known)}. Received: {name!r}")
        old = getattr(config, name)
        if name in _OPTIONAL and not place:
            old = None if value is None else old or _OPTIONAL[name]()
        if dataclasses.is_dataclass(old):
            value = _changed(old, value, file, where)
        if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # JSON has one kind of numbers; components and the cache tell 0 from 0.0
        changes[name] = tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value
        if value is not None or "None" not in str(known[name]):
            _check_kind(old, changes[name], "auto" in str(known[name]), f"{file}: {where}")
    try:
        return dataclasses.replace(config, **changes)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{file}: {place or 'the whole'}: {error}") from error


def _check_kind(old: Any, new: Any, may_be_auto: bool, where: str) -> None:
    """Refuses a value of another kind than the default's, where the default is a plain number, bool or tuple."""
    if isinstance(old, bool) or isinstance(new, bool):
        fits = isinstance(old, bool) and isinstance(new, bool)
    elif isinstance(old, float):
        fits = isinstance(new, (int, float))
    elif isinstance(old, int):
        fits = isinstance(new, int) or (may_be_auto and new == "auto")
    elif isinstance(old, tuple):
        fits = isinstance(new, tuple)
    else:
        fits = True
    if not fits:
        raise SettingsError(f"{where}: expected a value like {old!r}. Received: {new!r}")


def to_json(settings: Any) -> str:
    """Returns a settings dataclass, or None, as JSON in a fixed order, so that equal settings are equal cache keys."""
    return json.dumps(None if settings is None else dataclasses.asdict(settings), sort_keys=True)
