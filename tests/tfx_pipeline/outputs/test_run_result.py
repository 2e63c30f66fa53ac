"""What is read from the record of a run, with the files that its components leave."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from tfx_pipeline.history.run_record import RunRecord
from tfx_pipeline.outputs.run_result import RunResult
from tfx_pipeline.targeting.beam.count_weight import WEIGHTS

pytestmark = pytest.mark.slow  # TFX is imported

RELIABILITY = {"k": 50, "knots": {}, "weights": {}, "intercept": 0.0}
MODEL = {"recall@50": {"mean": 0.25, "low": 0.2, "high": 0.3}}


def artifact(uri: Path, number: int, **properties: int | str) -> metadata_store_pb2.Artifact:
    uri.mkdir(parents=True)
    made = metadata_store_pb2.Artifact(id=number, uri=str(uri))
    for name, value in properties.items():
        if isinstance(value, int):
            made.custom_properties[name].int_value = value
        else:
            made.custom_properties[name].string_value = value
    return made


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    """A pushed run in which two models were embedded, and the targets came from the second."""
    properties: dict[tuple[str, str], dict[str, int | str]] = {
        ("CatalogueEmbedder", "embeddings"): {},
        ("SecondEmbedder", "embeddings"): {},
        ("RetrievalEvaluator", "evaluation"): {},
        ("RetrievalEvaluator", "blessing"): {"blessed": 1},
        ("ServingValidator", "blessing"): {"blessed": 1},
        ("SecondChecker", "blessing"): {"blessed": 1},
        ("DataGate", "report_of_data"): {},
        ("Pusher", "pushed_model"): {"pushed": 1, "pushed_destination": "/serving/17"},
        ("AudienceTargeter", "targets"): {"targeted": 1},
        ("RunPage", "page"): {},
    }
    outputs = {
        key: artifact(tmp_path / "/".join(key), number, **properties[key]) for number, key in enumerate(properties, 1)
    }
    for component in ("CatalogueEmbedder", "SecondEmbedder"):
        for name in ("embeddings-00000-of-00002", "embeddings-00001-of-00002", "matches-00000-of-00001"):
            (tmp_path / component / "embeddings" / f"{name}.parquet").touch()
    of_test = {"songs": 70, "rho": 0.5, "low": 0.25, "high": 0.75, "fifths": []}
    report = {
        "blessed": True,
        "refused_because": [],
        "val": {"rows": {"model": MODEL}},
        "reliability": {"validation_songs": 60, "fitted": RELIABILITY, "test": of_test},
    }
    (tmp_path / "RetrievalEvaluator" / "evaluation" / "report.json").write_text(json.dumps(report))
    findings = "noted: plays, column `user_id`: new value u-17\nnot compared: songs, no statistics of a pushed run"
    (tmp_path / "DataGate" / "report_of_data" / "report.txt").write_text(findings)
    files = {"targets": {"files": {"10": "c.parquet", "9": "b.parquet"}}, "summary": {"files": {"0": "a.parquet"}}}
    hits = {f"validation_hits_with_weight_{weight:g}": int(weight == 0.5) for weight in WEIGHTS}
    chosen = {"settings": {"matches_per_song": 9}, "counts": {"validation_songs": 2, **hits}}
    (tmp_path / "AudienceTargeter" / "targets" / "_SUCCESS").write_text(json.dumps({**files, **chosen}))
    inputs = {("AudienceTargeter", "embeddings"): outputs["SecondEmbedder", "embeddings"]}
    return RunRecord("2026-11-01T00:00:00.000001", outputs, inputs)


def test_the_tables_are_those_that_the_targets_were_made_from(record, tmp_path):
    result = RunResult.read(record)
    embeddings, targets = tmp_path / "SecondEmbedder" / "embeddings", tmp_path / "AudienceTargeter" / "targets"
    assert result.parts == {
        "embeddings": tuple(embeddings / f"embeddings-0000{n}-of-00002.parquet" for n in (0, 1)),
        "matches": (embeddings / "matches-00000-of-00001.parquet",),
        "targets": (targets / "targets" / "b.parquet", targets / "targets" / "c.parquet"),
        "songs_summary": (targets / "summary" / "a.parquet",),
    }
    assert result.pushed == Path("/serving/17") and result.refused_because == ()
    assert result.reliability == RELIABILITY
    assert result.page == tmp_path / "RunPage" / "page" / "run.html"
    ranges = {"match_scores": [-1.0, 1.0], "target_scores": [-1.0, pytest.approx(1 + 0.5 * math.log(10))]}
    assert result.targeting == {"count_weight": 0.5, **ranges}


def test_checks_have_every_decision_and_no_value_of_the_data(record):
    checks = RunResult.read(record).checks
    assert checks == {
        "DataGate": {"passed": True, "noted": 1},
        "RetrievalEvaluator": {
            "passed": True,
            "refused_because": [],
            "model": {"val": {"recall@50": 0.25}},
            "reliability": {"rho": 0.5, "low": 0.25, "high": 0.75},
        },
        "SecondChecker": {"passed": True, "refused_because": []},
        "ServingValidator": {"passed": True, "refused_because": []},
    }


def test_every_refusal_is_a_reason(record, tmp_path):
    record.outputs["Pusher", "pushed_model"].custom_properties["pushed"].int_value = 0
    (tmp_path / "AudienceTargeter" / "targets" / "_SUCCESS").unlink()  # nothing is targeted then
    report = {"blessed": False, "refused_because": ["val: too low"]}
    (tmp_path / "RetrievalEvaluator" / "evaluation" / "report.json").write_text(json.dumps(report))
    for component in ("ServingValidator", "SecondChecker"):
        record.outputs[component, "blessing"].custom_properties["blessed"].int_value = 0
    (tmp_path / "ServingValidator" / "blessing" / "INFRA_NOT_BLESSED").write_text("ValueError: no answer")
    (tmp_path / "SecondChecker" / "blessing" / "served.json").write_text('{"refused_because": ["too different"]}')
    result = RunResult.read(record)
    assert result.pushed is None and result.parts == {}
    assert result.refused_because == ("val: too low", "too different", "when it was served: ValueError: no answer")
    assert [name for name, check in result.checks.items() if not check["passed"]] == [
        "RetrievalEvaluator",
        "SecondChecker",
        "ServingValidator",
    ]


def test_runs_share_a_digest_if_their_artifacts_are_the_same(record):
    first = RunResult.read(record)
    later = RunResult.read(RunRecord("2026-11-02T00:00:00.000001", record.outputs, record.inputs))
    assert later.artifacts == first.artifacts and later.run_id != first.run_id
    record.outputs["RunPage", "page"].id = 99
    assert RunResult.read(record).artifacts != first.artifacts
