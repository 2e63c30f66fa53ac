"""Settings as JSON and back, by the types of their dataclasses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pytest

import bcl_keras
from tfx_pipeline.config import PipelineConfig
from tfx_pipeline.contract import SongField
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.models.config import VALIDATION_K, VALIDATION_TRUTH, TransformConfig
from tfx_pipeline.models.model_config import TuningConfig
from tfx_pipeline.models.step_settings import TunerSettings
from tfx_pipeline.runtime.settings_codec import SettingsError, from_json, from_values, to_json, with_changes
from tfx_pipeline.targeting.config import TargetingConfig


@dataclass(frozen=True)
class Part:
    """A section."""

    share: float = 0.5
    sizes: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.share > 1:
            raise ValueError(f"Argument `share` must be at most 1. Received: {self.share}")


@dataclass(frozen=True)
class Whole:
    """Sections and plain settings."""

    part: Part = field(default_factory=Part)
    other: Part | None = None
    count: int | Literal["auto"] = "auto"


def test_json_is_the_same_for_the_same_settings() -> None:
    whole = Whole(part=Part(share=1, sizes=(3,)))
    text = '{"count": "auto", "other": null, "part": {"share": 1.0, "sizes": [3]}}'
    assert to_json(whole) == text == to_json(Whole(part=Part(share=1.0, sizes=(3,))))
    assert from_json(Whole, text) == whole
    assert type(from_json(Whole, text.replace("1.0", "1")).part.share) is float


@pytest.mark.parametrize(
    "settings",
    [
        PipelineConfig(tuning=TuningConfig(trials=3)),
        PipelineConfig(ridge=None),
        TargetingConfig(count_weight=0.5, clusters=4, threshold=-1.0),
        TargetingConfig(rule="hybrid", clusters="auto", cap=3, listener_splits=("warm", "new")),
        TunerSettings(
            (SongField("audio_tempo", "number"), SongField("lyric_vector", "vector", 2)),
            bcl_keras.BCLConfig(hidden_dims=(8,)),
            PipelineConfig().training,
            5,
            TuningConfig(),
        ),
    ],
)
def test_settings_survive_json(settings: Any) -> None:
    read = from_json(type(settings), to_json(settings))
    assert read == settings
    assert to_json(read) == to_json(settings)
    assert from_values(type(settings), json.loads(json.dumps(asdict(settings))), "a recorded run") == settings


def test_a_type_need_not_be_a_class() -> None:
    fields = (SongField("audio_tempo", "number"), SongField("lyric_vector", "vector", 2))
    kind = tuple[SongField, ...]
    assert from_json(kind, to_json(fields, kind)) == fields
    with pytest.raises(SettingsError, match=r"^here: \[1\]\.kind: expected 'category', .* Received: 'word'$"):
        from_json(kind, to_json(fields, kind).replace('"vector"', '"word"'), "here")


def test_a_value_of_another_type_is_not_written() -> None:
    with pytest.raises(Exception, match="Expected `int`"):
        to_json(Part(sizes=("1",)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Out of range float values"):
        to_json(Part(share=float("nan")))


def test_changes_start_from_the_given_settings() -> None:
    start = Whole(part=Part(share=0.1), count=7)
    assert with_changes(start, {"part": {"sizes": [9]}}, "x") == Whole(part=Part(0.1, (9,)), count=7)
    assert with_changes(start, {"other": {"share": 0}}, "x").other == Part(share=0.0)
    assert with_changes(Whole(other=Part()), {"other": None}, "x").other is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part": {"share": 2}}, "x: part: Argument `share` must be at most 1. Received: 2.0"),
        ({"other": {"share": True}}, "x: other.share: expected a valid number. Received: True"),
        ({"other": {"size": 1}}, "x: other.size: expected one of ['share', 'sizes']. Received: 'size'"),
        ({"part": {"sizes": [1, 2.5]}}, "x: part.sizes[1]: expected a valid integer. Received: 2.5"),
        ({"part": {"sizes": 1}}, "x: part.sizes: expected a valid array. Received: 1"),
        ({"count": "all"}, "x: count: expected a valid integer or 'auto'. Received: 'all'"),
        ({"count": True}, "x: count: expected a valid integer or 'auto'. Received: True"),
        (
            {"part": [], "count": None},
            "x: part: expected an object. Received: []; count: expected a valid integer or 'auto'. Received: None",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        with_changes(Whole(), changes, "x")
    assert str(caught.value) == message


def test_a_setting_without_a_default_must_be_there() -> None:
    with pytest.raises(SettingsError, match=r"^settings: fields: expected a value\. Received: none; model: expected"):
        from_json(TunerSettings, "{}")


def test_what_several_rooms_have_in_common_has_one_value() -> None:
    """The library cannot import the pipeline, and the input contract cannot import the library, which loads Keras."""
    field_of_library = bcl_keras.Field("audio_tempo", "number")
    assert TransformConfig().max_values == field_of_library.max_values
    assert EvaluationConfig().k == bcl_keras.models.RidgeConfig().k == VALIDATION_K
    assert EvaluationConfig().truth == VALIDATION_TRUTH
