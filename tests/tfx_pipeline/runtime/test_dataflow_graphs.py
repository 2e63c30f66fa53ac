"""Every Beam step of the whole pipeline makes a job that Dataflow's own runner finds valid. No cloud is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2 as beam_api

from tests.tfx_pipeline.conftest import run_small, small_config

pytestmark = pytest.mark.pipeline
IMAGE = "europe-docker.pkg.dev/some-project/bcl:1"
OPTIONS = (
    "--runner=tests.tfx_pipeline.runtime.dataflow_graphs.DataflowGraphRunner --project=some-project "
    f"--region=europe-west4 --temp_location=gs://some-bucket/tmp --sdk_container_image={IMAGE}"
)
BEAM_STEPS = ("ParquetExecutor", "StatisticsGen", "Transform", "SimilarSongsLabeller", "Embedder", "AudienceTargeter")


def test_each_beam_step_is_a_valid_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.tfx_pipeline.runtime.dataflow_graphs import JOBS
    from tfx_pipeline.datasets.simulate import simulate

    monkeypatch.setenv("BCL_BEAM", OPTIONS)
    monkeypatch.setattr("tests.tfx_pipeline.runtime.dataflow_graphs.JOBS", [tmp_path / "jobs"])
    assert not JOBS  # of earlier tests
    simulate(tmp_path / "data", songs=200, users=100, plays=5000, seed=2)
    lines: list[str] = []
    run_small(tmp_path / "data", tmp_path / "run", small_config(), lines.append)
    assert any(line.split()[0] == "AudienceTargeter" for line in lines)

    jobs = [json.loads(file.read_text()) for file in (tmp_path / "jobs").glob("*/job.json")]
    labels = [job["labels"]["tfx_executor"] for job in jobs]
    for step in BEAM_STEPS:
        assert any(step.lower() in label.replace("_", "") for label in labels), (step, labels)
    for job in jobs:
        assert job["type"] == "JOB_TYPE_BATCH" and job["name"]
        images = {
            image["containerImage"] for image in job["environment"]["workerPools"][0]["sdkHarnessContainerImages"]
        }
        assert images == {IMAGE}
    for file in (tmp_path / "jobs").glob("*/graph.pb"):
        graph = beam_api.Pipeline.FromString(file.read_bytes())
        assert graph.root_transform_ids and graph.requirements is not None
        assert {env.urn for env in graph.components.environments.values()} == {"beam:env:docker:v1"}
        bounded = {collection.is_bounded for collection in graph.components.pcollections.values()}
        assert bounded == {beam_api.IsBounded.BOUNDED}
