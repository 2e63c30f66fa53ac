"""Components whose settings are dataclasses: made by TFX, run by TFX, kept by its cache."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from tfx import v1 as tfx
from tfx.types.standard_artifacts import Schema

from tests.tfx_pipeline.run_components import run_components
from tfx_pipeline.contract import SongField
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.labels.component import SimilarSongsLabeller
from tfx_pipeline.models import song_schema
from tfx_pipeline.models.config import TransformConfig
from tfx_pipeline.models.song_schema import SongSchema
from tfx_pipeline.runtime.fingerprint import code_fingerprint
from tfx_pipeline.runtime.settings_codec import SettingsError
from tfx_pipeline.tfx_extensions import components
from tfx_pipeline.tfx_extensions.components import component, custom_config, settings_of

FIELDS = (SongField("audio_tempo", "number"), SongField("lyric_vector", "vector", 2))


@dataclass(frozen=True)
class Part:
    """Settings of a component."""

    share: float = 0.5
    names: tuple[str, ...] = ()


@component
def Writer(  # noqa: N802
    out: tfx.dsl.components.Parameter[str],
    part: Part,
    times: tfx.dsl.components.Parameter[float],
    others: tuple[Part, ...] = (Part(names=("default",)),),
) -> None:
    """Writes what it was given."""
    assert isinstance(part, Part)
    given = {"part": asdict(part), "times": times, "others": [asdict(other) for other in others]}
    with open(out, "a", encoding="utf-8") as file:
        file.write(json.dumps(given) + "\n")


@component(use_beam=True)
def Counter(  # noqa: N802
    out: tfx.dsl.components.Parameter[str],
    part: Part,
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes the names with Beam."""
    with beam_pipeline as pipeline:
        pipeline | beam.Create(part.names) | beam.io.WriteToText(out, shard_name_template="")


@pytest.fixture(autouse=True)
def fingerprints(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The fingerprints of modules; the components of this file are in no module of the project."""
    known = {__name__: "first"}
    monkeypatch.setattr(components, "code_fingerprint", lambda module: known.get(module) or code_fingerprint(module))
    return known


def test_a_component_gets_its_settings_by_their_types(tmp_path: Path) -> None:
    out = tmp_path / "out"
    others = (Part(share=1.0), Part(names=("é", "\n")))
    run_components(tmp_path, Writer(out=str(out), part=Part(0.25, ("a",)), times=2.0, others=others))
    expected = {"part": asdict(Part(0.25, ("a",))), "times": 2.0, "others": [asdict(other) for other in others]}
    assert json.loads(out.read_text()) == json.loads(json.dumps(expected))


def test_a_setting_may_have_a_default(tmp_path: Path) -> None:
    run_components(tmp_path, Writer(out=str(tmp_path / "out"), part=Part(), times=1.0))
    assert json.loads((tmp_path / "out").read_text())["others"] == [{"share": 0.5, "names": ["default"]}]


def test_the_cache_follows_settings_and_code(tmp_path: Path, fingerprints: dict[str, str]) -> None:
    def runs(part: Part) -> int:
        run_components(tmp_path, Writer(out=str(tmp_path / "out"), part=part, times=1.0))
        return len((tmp_path / "out").read_text().splitlines())

    assert [runs(Part()), runs(Part()), runs(Part(share=0.75))] == [1, 1, 2]
    fingerprints[__name__] = "edited"
    assert runs(Part()) == 3


def test_a_component_on_beam_gets_its_settings(tmp_path: Path) -> None:
    run_components(tmp_path, Counter(out=str(tmp_path / "out"), part=Part(names=("a", "b"))))
    assert sorted((tmp_path / "out").read_text().split()) == ["a", "b"]


def test_a_component_of_the_pipeline_runs(tmp_path: Path) -> None:
    (tmp_path / "inferred").mkdir()
    (tmp_path / "inferred" / "schema.pbtxt").write_text(
        'feature { name: "song_id" type: BYTES } feature { name: "title" type: BYTES }'
        'feature { name: "audio_tempo" type: FLOAT } feature { name: "lyric_vector" type: FLOAT }'
    )
    inferred = tfx.dsl.Importer(source_uri=str(tmp_path / "inferred"), artifact_type=Schema).with_id("Inferred")
    run_components(tmp_path, inferred, SongSchema(inferred=inferred.outputs["result"], fields=FIELDS))
    (written,) = tmp_path.glob("pipeline/SongSchema/schema/*/schema.pbtxt")
    text = written.read_text()
    assert "audio_tempo" in text
    assert "lyric_vector" in text
    assert "title" not in text  # for display alone


def test_tfx_finds_executor_and_component_by_the_module_of_the_function() -> None:
    for made, module in ((SongSchema, song_schema.__name__), (Counter, __name__)):
        name = made.__name__
        assert made.EXECUTOR_SPEC.class_path == f"{module}.{name}_Executor"
        assert getattr(importlib.import_module(module), f"{name}_Executor") is made.EXECUTOR_SPEC.executor_class
        assert made.__module__ == module
    assert inspect.signature(Writer.test_call).parameters["part"].annotation == "Part"


def test_parameters_are_plain_text_and_the_fingerprint_is_given(tmp_path: Path) -> None:
    inferred = tfx.dsl.Importer(source_uri=str(tmp_path), artifact_type=Schema)
    made = SongSchema(inferred=inferred.outputs["result"], fields=FIELDS)
    assert made.id == "SongSchema"
    assert made.exec_properties.keys() == {"fields", "code"}
    assert made.exec_properties["code"] == code_fingerprint("tfx_pipeline.models.song_schema")
    assert json.loads(made.exec_properties["fields"]) == [asdict(field) for field in FIELDS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "x", "times": 1.0}, "expects parameter 'part'"),
        ({"out": "x", "times": 1.0, "part": '{"share": 1}'}, "Expected `Part`"),
        ({"out": "x", "times": 1.0, "part": Part(), "shares": 1}, "Unknown arguments"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_component_is_made(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        Writer(**arguments)


def test_a_labeller_has_the_parameters_of_its_settings() -> None:
    parameters = SimilarSongsLabeller.SPEC_CLASS.PARAMETERS
    assert {name: parameter.type for name, parameter in parameters.items()} == {
        "audience": str,
        "split": str,
        "code": str,
        "beam_pipeline": beam.Pipeline,
    }


def test_a_step_of_tfx_gets_its_settings() -> None:
    config = custom_config("tfx_pipeline.models.preprocessing", TransformConfig(max_values=3))
    assert config["code"] == code_fingerprint("tfx_pipeline.models.preprocessing")
    assert settings_of(TransformConfig, config) == TransformConfig(max_values=3)
    with pytest.raises(SettingsError, match=r"^custom_config: max_values: expected one of"):
        settings_of(EvaluationConfig, config)
