"""`--engine` and the check at the start, as far as no engine is needed."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from tfx_pipeline.runtime import engine_check
from tfx_pipeline.runtime.beam_options import IN_MEMORY, beam_options, engine_in_words, job_limit
from tfx_pipeline.runtime.engine import add_engine_options, engine_options, use_engine
from tfx_pipeline.runtime.engine_check import EngineError, check_engine

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the variables away, and gives them back after the test."""
    for variable in ("BCL_BEAM", "BCL_JOB_LIMIT"):
        monkeypatch.setenv(variable, "")


def given(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [(), ("--engine", "local")])
def test_no_engine_is_this_process(words: tuple[str, ...]) -> None:
    use_engine(given(*words))
    assert beam_options() == IN_MEMORY and job_limit() is None and engine_in_words(beam_options()) == ""


@pytest.mark.parametrize("engine", ["flink", "spark"])
def test_beam_reads_what_the_engine_says(engine: str) -> None:
    use_engine(
        given("--engine", engine, "--job-server", "jobs:8099", "--workers", "pool-1:50000", "--job-limit", "1e3")
    )
    options = PipelineOptions(list(beam_options()))
    portable = options.view_as(PortableOptions)
    assert options.view_as(StandardOptions).runner == "PortableRunner"
    assert (portable.job_endpoint, portable.environment_type) == ("jobs:8099", "EXTERNAL")
    assert portable.environment_config == "pool-1:50000"
    assert engine_in_words(beam_options()) == "PortableRunner at jobs:8099" and job_limit() == 1000.0


def test_an_image_takes_the_place_of_a_pool() -> None:
    options = PipelineOptions(list(engine_options("spark", worker_image="registry/bcl:2"))).view_as(PortableOptions)
    assert (options.environment_type, options.environment_config) == ("DOCKER", "registry/bcl:2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--job-server", "a:1"], "--job-server: expected --engine flink or spark with it. Received: no --engine"),
        (
            ["--engine", "local", "--job-limit", "3"],
            "--job-limit: expected --engine flink or spark with it. Received: -",
        ),
        (["--engine", "flink", "--job-server", "http://a:1"], "--job-server: expected HOST:PORT. Received: 'http://a"),
        (["--engine", "flink", "--job-server", "a"], "--job-server: expected HOST:PORT. Received: 'a'"),
        (["--engine", "spark", "--workers", ":5"], "--workers: expected HOST:PORT. Received: ':5'"),
        (
            ["--engine", "spark", "--parallelism", "2"],
            "--parallelism: expected at least 1, with Flink. Received: 2 with",
        ),
        (["--engine", "flink", "--parallelism", "0"], "--parallelism: expected at least 1, with Flink. Received: 0"),
        (["--engine", "flink", "--workers", "a:1", "--worker-image", "b"], "--worker-image: expected no --workers"),
        (["--engine", "flink", "--job-limit", "0"], "BCL_JOB_LIMIT: expected seconds above 0. Received: '0.0'"),
        (["--engine", "flink", "--job-limit", "nan"], "BCL_JOB_LIMIT: expected seconds above 0. Received: 'nan'"),
    ],
)
def test_options_that_cannot_be_used(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        use_engine(given(*words))


def test_two_engines_are_one_too_many() -> None:
    os.environ["BCL_BEAM"] = "--runner=FlinkRunner"
    with pytest.raises(ValueError, match=r"^--engine: expected no BCL_BEAM beside it. Received: BCL_BEAM='--runner=Fl"):
        use_engine(given("--engine", "local"))


def test_only_a_job_server_is_asked(tmp_path: Path) -> None:
    check_engine(IN_MEMORY, tmp_path)
    check_engine(("--runner=DataflowRunner",), tmp_path)
    with pytest.raises(EngineError, match=r"^job server localhost:1: expected Beam's job server. Received: "):
        check_engine(engine_options("flink", job_server="localhost:1"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (
            "Traceback:\nRuntimeError: Pipeline construction environment and pipeline runtime environment are not "
            "compatible. Submission environment: beam:version:sdk_base:apache/"
            "beam_python3.11_sdk:2.72.0. Runtime environment: beam:version:sdk_base:apache/beam_python3.10_sdk:2.71.0.",
            "workers: expected Beam and Python of this process, beam:version:sdk_base:apache/beam_python3.11_sdk:"
            "2.72.0. Received: beam:version:sdk_base:apache/beam_python3.10_sdk:2.71.0",
        ),
        ("\n  a\n  KeyError: 'b'\n", "job server jobs:1: expected a small job to run. Received: KeyError: 'b'"),
        ("", "job server jobs:1: expected a small job to run. Received: an error"),
    ],
)
def test_what_an_engine_reports_becomes_a_sentence(report: str, message: str) -> None:
    assert engine_check._in_words(report, "jobs:1") == message


def test_the_worker_image_has_the_beam_of_its_lane() -> None:
    image = (ROOT / "tfx_pipeline" / "runtime" / "worker.Dockerfile").read_text()
    lane = (ROOT / "requirements" / "tfx-1.21.txt").read_text()
    (of_image,) = re.findall(r"beam_python3\.13_sdk:(\S+)", image)
    assert re.findall(r"^apache-beam==(\S+)$", lane, re.MULTILINE) == [of_image]
