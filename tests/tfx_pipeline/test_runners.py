"""The pipeline compiled for Vertex AI, and settings read from a file; `test_whole_path` has TFX's own command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tfx_pipeline.config import PipelineConfig, read_settings
from tfx_pipeline.contract.__main__ import main as check_contract
from tfx_pipeline.models.model_config import SearchSpace, TuningConfig
from tfx_pipeline.runtime.beam_options import IN_MEMORY, beam_options
from tfx_pipeline.runtime.settings_codec import SettingsError, to_json
from tfx_pipeline.targeting import TargetingConfig


def test_settings_change_what_they_name(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(
        '{"model": {"epochs": 7, "hidden_dims": [32]}, "ridge": null, "targeting": {"clusters": "auto"},'
        '"tuning": {"trials": 3, "space": {"momentum": [0.1]}}}'
    )
    default = PipelineConfig()
    expected = replace(
        default,
        model=replace(default.model, epochs=7, hidden_dims=(32,)),
        ridge=None,
        tuning=TuningConfig(trials=3, space=SearchSpace(momentum=(0.1,))),
        targeting=replace(default.targeting, clusters="auto"),
    )
    assert read_settings(file) == expected


def test_a_whole_number_does_for_a_fraction(tmp_path: Path) -> None:
    """TFX refuses a whole number for a parameter of a component, after the input has been read."""

    def wholes(settings: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
        """Every fraction of the settings as a whole number that it may be."""
        found: dict[str, Any] = {}
        for name, value in default.items():
            if isinstance(value, dict) and name in ("evaluation", "data_gate", "split"):
                found[name] = wholes({}, value)
            elif isinstance(value, float):
                found[name] = 0
        return settings | found

    (tmp_path / "settings.json").write_text(json.dumps(wholes({}, asdict(PipelineConfig()))))
    (tmp_path / "same.json").write_text(json.dumps(wholes({}, asdict(PipelineConfig()))).replace(": 0", ": 0.0"))
    whole, same = (read_settings(tmp_path / name) for name in ("settings.json", "same.json"))
    assert to_json(whole) == to_json(same) and whole.refit_overlap == 0 and whole.data_gate.max_drift == 0
    default, given = (json.loads(to_json(config)) for config in (PipelineConfig(), whole))
    for section in ("evaluation", "data_gate", "split"):
        kinds = [{name: type(value) for name, value in config[section].items()} for config in (default, given)]
        assert kinds[0] == kinds[1]
    assert type(whole.refit_overlap) is float


def test_a_search_space_takes_whole_numbers_for_others(tmp_path: Path) -> None:
    """Keras Tuner refuses values of two types, after the whole front of the pipeline has run."""
    (tmp_path / "settings.json").write_text('{"tuning": {"space": {"field_dropout": [0, 0.3], "update_every": [1]}}}')
    tuning = read_settings(tmp_path / "settings.json").tuning
    assert tuning is not None
    space = tuning.space
    assert {type(value) for value in space.field_dropout} == {float} and space.update_every == (1,)


def test_an_engine_with_workers_gets_shards_to_share_out(monkeypatch) -> None:
    alone = PipelineConfig().targeting
    monkeypatch.setenv("BCL_BEAM", "--runner=FlinkRunner")
    shared = PipelineConfig().targeting
    assert shared == TargetingConfig(cap=alone.cap) and shared.songs_per_shard < alone.songs_per_shard


def test_a_listener_gets_five_songs_of_a_run_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    assert PipelineConfig().targeting.cap == 5
    for cap, expected in (("null", None), ("1", 1)):
        (tmp_path / "settings.json").write_text(f'{{"targeting": {{"cap": {cap}}}}}')
        assert read_settings(tmp_path / "settings.json").targeting.cap == expected
    (tmp_path / "settings.json").write_text('{"targeting": {"listeners_per_song": null}}')
    with pytest.raises(
        SettingsError, match=r"targeting\.listeners_per_song: expected a valid integer\. Received: None"
    ):
        read_settings(tmp_path / "settings.json")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_bytes(b'\xef\xbb\xbf{"model": {"epochs": 7}}\r\n')
    assert read_settings(tmp_path / "settings.json").model.epochs == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a JSON object. Received: an empty file. An object without settings is {}"),
        (b"\xef\xbb\xbf \n", "Received: an empty file"),
        ("{}".encode("utf-16"), "Received: a file in UTF-16. Save it in UTF-8"),
        ("{}".encode("utf-32"), "Received: a file in UTF-32. Save it in UTF-8"),
        (b'{"model": "\xff"}', "can't decode byte 0xff"),
        (b'{"model": {"epochs": 1},}', "line 1 column"),
        (b'{"model": {"epochs": 1, "epochs": 2}}', "Received: 'epochs' twice in one object"),
        (b"[" * 100_000, "expected a JSON object. Received: "),
        (None, "expected a JSON file. Received: No such file or directory"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "settings.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_settings(file)
    assert str(caught.value).startswith(f"{file}: ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a JSON object"),
        ("[1]", "expected an object of settings. Received: [1]"),
        ('{"towers": {}}', "towers: expected one of"),
        ('{"model": {"epoch": 3}}', "model.epoch: expected one of"),
        ('{"model": {"epochs": "three"}}', "model.epochs: expected a valid integer. Received: 'three'"),
        ('{"model": {"epochs": true}}', "model.epochs: expected a valid integer. Received: True"),
        ('{"model": {"epochs": 0}}', "`epochs` must be at least 1. Received: 0"),
        ('{"evaluation": {"min_gain": [1]}}', "evaluation.min_gain: expected a valid number. Received: [1]"),
        ('{"training": {"positives": "auto"}}', "training.positives: expected a valid integer. Received: 'auto'"),
        ('{"song_ids": "float"}', "song_ids: expected 'string' or 'int64'. Received: 'float'"),
        ('{"refit": "always"}', "refit: expected 'train', 'index' or 'off'. Received: 'always'"),
        ('{"refit_overlap": 1.5}', "`refit_overlap` must be between 0 and 1. Received: 1.5"),
        ('{"explain": "yes"}', "explain: expected a valid boolean. Received: 'yes'"),
        ('{"refit_overlap": "half"}', "refit_overlap: expected a valid number. Received: 'half'"),
        ('{"split": {"rotate": "daily"}}', "split.rotate: expected 'none', 'month' or 'week'. Received: 'daily'"),
        ('{"tuning": {"trials": 0}}', "`trials` must be at least 1. Received: 0"),
        ('{"tuning": {"space": {"momentum": []}}}', "`momentum` must hold values to draw from"),
        ('{"tuning": {"space": {"momentum": [2]}}}', "`momentum` must be in [0, 1). Received: 2.0"),
        ('{"evaluation": {"min_gain": NaN}}', "expected a JSON object. Received: NaN, which is no JSON"),
        ('{"evaluation": {"seed": -1}}', "`seed` must be at least 0. Received: -1"),
        ('{"training": {"positives": 0}}', "`positives` must be at least 1. Received: 0"),
        ('{"transform": {"max_vocabulary": 0}}', "`max_vocabulary` must be at least 1. Received: 0"),
        ('{"refit_overlap": 1e999}', "expected a JSON object. Received: 1e999, which is too large a number"),
        ('{"model": {"hidden_dims": [32, "x"]}}', "model.hidden_dims[1]: expected a valid integer. Received: 'x'"),
        ('{"targeting": {"clusters": 1.5}}', "targeting.clusters: expected a valid integer or 'auto'. Received: 1.5"),
        ('{"tuning": {"space": {"alpha": [1]}}}', "tuning.space.alpha: expected one of ['contrast_temperature'"),
        ('{"ridge": {"rank": "8"}}', "ridge.rank: expected a valid integer. Received: '8'"),
        ('{"ridge": 8}', "ridge: expected an object. Received: 8"),
        ('{"split": {"salt": "\\ud800"}}', "expected a JSON object. Received: '\\ud800', which is half of a character"),
        (
            '{"model": {"epochs": "1"}, "explain": 1}',
            "model.epochs: expected a valid integer. Received: '1'; explain: expected a valid boolean. Received: 1",
        ),
        ('{"targeting": null}', "targeting: expected an object. Received: None"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_settings(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_the_pipeline_compiles_for_vertex_ai(tmp_path: Path) -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    from tfx_pipeline import kubeflow_v2_runner
    from tfx_pipeline.datasets.simulate import simulate

    out = tmp_path / "job.json"
    home = "/gcs/bucket/bcl"
    simulate(tmp_path / "data", songs=60, users=30, plays=600, seed=1)
    assert check_contract([str(tmp_path / "data"), "--out", str(tmp_path / "input")]) == 0
    arguments = ["--data", str(tmp_path / "input"), "--home", home, "--image", "registry/bcl:1", "--out", str(out)]
    assert kubeflow_v2_runner.main([*arguments, "--beam", "runner=DataflowRunner", "region=europe-west4"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "input", "job.json"]
    job = json_format.ParseDict(json.loads(out.read_text()), pipeline_spec_pb2.PipelineJob())
    spec = json_format.ParseDict(json_format.MessageToDict(job.pipeline_spec), pipeline_spec_pb2.PipelineSpec())
    tasks = spec.root.dag.tasks
    assert set(tasks["Trainer"].dependent_tasks) >= {"Transform"}
    assert {"SongGen", "DataGate", "SimilarSongsLabeller", "Trainer", "Pusher", "AudienceTargeter", "RunPage"} <= set(
        tasks
    )
    executors = json_format.MessageToDict(spec.deployment_spec)["executors"]
    assert {name: e["container"]["image"] for name, e in executors.items() if "container" in e}.keys() >= {
        "Trainer_executor"
    }
    assert all(e["container"]["image"] == "registry/bcl:1" for e in executors.values() if "container" in e)
    assert "runner=DataflowRunner" in json.dumps(executors["AudienceTargeter_executor"])
    assert job.runtime_config.gcs_output_directory == f"{home}/pipeline"


@pytest.mark.parametrize(
    ("options", "expected"), [(None, IN_MEMORY), ("--runner=X --a='b c'", ("--runner=X", "--a=b c"))]
)
def test_the_environment_names_the_engine(
    monkeypatch: pytest.MonkeyPatch, options: str | None, expected: tuple[str, ...]
) -> None:
    monkeypatch.delenv("BCL_BEAM", raising=False)
    if options:
        monkeypatch.setenv("BCL_BEAM", options)
    assert beam_options() == expected


def test_vertex_needs_checked_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tfx_pipeline import kubeflow_v2_runner

    assert kubeflow_v2_runner.main(["--data", str(tmp_path), "--home", "/gcs/b", "--image", "i"]) == 2
    assert "written by `prepare`" in capsys.readouterr().err


@pytest.mark.slow
def test_a_container_of_the_compiled_job_runs_here(tmp_path: Path) -> None:
    """The commands that Vertex AI or Kubeflow run in the image, with what they would put in place of {{$}}."""
    import tensorflow as tf

    from tfx_pipeline import kubeflow_v2_runner
    from tfx_pipeline.datasets.simulate import simulate

    simulate(tmp_path / "data", songs=60, users=30, plays=600, seed=1)
    assert check_contract([str(tmp_path / "data"), "--out", str(tmp_path / "input")]) == 0
    out = tmp_path / "job.json"
    arguments = ["--data", str(tmp_path / "input"), "--home", str(tmp_path / "home"), "--image", "i", "--out", str(out)]
    assert kubeflow_v2_runner.main(arguments) == 0
    spec = json.loads(out.read_text())["pipelineSpec"]
    container = spec["deploymentSpec"]["executors"]["SongGen_executor"]["container"]
    declared = spec["components"]["SongGen"]["outputDefinitions"]["artifacts"]["examples"]["artifactType"]
    given = spec["root"]["dag"]["tasks"]["SongGen"]["inputs"]["parameters"]
    examples = {"name": "examples", "uri": str(tmp_path / "examples"), "type": declared}
    invocation = {
        "inputs": {"parameters": {name: value["runtimeValue"]["constantValue"] for name, value in given.items()}},
        "outputs": {
            "artifacts": {"examples": {"artifacts": [examples]}},
            "outputFile": str(tmp_path / "task" / "executor_output.json"),
        },
    }
    for step in (container["lifecycle"]["preCacheCheck"], container):
        words = [json.dumps(invocation) if word == "{{$}}" else word for word in [*step["command"], *step["args"]]]
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False)
        assert words[0] == "python" and done.returncode == 0, done.stderr[-3000:]
    files = [str(file) for file in (tmp_path / "examples" / "Split-all").iterdir()]
    records = tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()
    found = [tf.train.Example.FromString(record).features.feature["song_id"].bytes_list.value[0] for record in records]
    expected = pq.read_table(tmp_path / "data" / "songs.parquet", columns=["song_id"])["song_id"].to_pylist()
    assert sorted(found) == sorted(str(one).encode() for one in expected)
    told = json.loads((tmp_path / "task" / "executor_output.json").read_text())
    assert told["artifacts"]["examples"]["artifacts"][0]["uri"] == str(tmp_path / "examples")


def test_the_refresh_pipeline_compiles_for_vertex_ai(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    from tfx_pipeline import kubeflow_v2_runner
    from tfx_pipeline.datasets.simulate import simulate

    simulate(tmp_path / "data", songs=60, users=30, plays=600, seed=1)
    assert check_contract([str(tmp_path / "data"), "--out", str(tmp_path / "input")]) == 0
    home, out = tmp_path / "home", tmp_path / "refresh.json"
    arguments = ["--refresh", "--data", str(tmp_path / "input"), "--home", str(home), "--image", "i", "--out", str(out)]
    capsys.readouterr()
    assert kubeflow_v2_runner.main(arguments) == 2  # no version is served
    assert str(home / "serving") in capsys.readouterr().err and not out.exists()
    (home / "serving" / "17").mkdir(parents=True)
    (home / "serving" / "17" / "saved_model.pb").touch()
    assert kubeflow_v2_runner.main([*arguments, "--settings", str(tmp_path / "s.json")]) == 2
    assert "--settings: expected none with --refresh" in capsys.readouterr().err
    assert kubeflow_v2_runner.main(arguments) == 0
    job = json_format.ParseDict(json.loads(out.read_text()), pipeline_spec_pb2.PipelineJob())
    spec = json_format.ParseDict(json_format.MessageToDict(job.pipeline_spec), pipeline_spec_pb2.PipelineSpec())
    tasks = spec.root.dag.tasks
    assert set(tasks) == {"SongGen", "ServedModel", "IndexRefresher", "ServingValidator", "Pusher"}
    assert set(tasks["Pusher"].dependent_tasks) == {"IndexRefresher", "ServingValidator"}
    assert str(home / "serving" / "17") in out.read_text()
    assert job.runtime_config.gcs_output_directory == f"{home}/refresh/pipeline"
