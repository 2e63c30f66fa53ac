"""What is wrong with an engine is named before the first step, in one message, with exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engines.conftest import run
from tests.engines.job_service import job_service, start_jobs
from tests.engines.processes import ROOT, servers
from tests.waiting import reserved_port
from tfx_pipeline.runtime.engine import engine_options
from tfx_pipeline.runtime.engine_check import EngineError, check_engine, versions


def test_workers_like_this_process_pass_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with job_service(tmp_path / "servers") as cluster:
        check_engine(cluster.options, tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_that_workers_do_not_see_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path leads each process to its own working folder."""
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    with job_service(tmp_path / "servers") as cluster, pytest.raises(EngineError) as caught:
        check_engine(cluster.options, Path("/proc/self/cwd/run"))
    where = "expected the run folder /proc/self/cwd/run to read and write"
    assert re.fullmatch(rf"worker on \S+: {where}\. Received: No such file or directory", str(caught.value))
    assert not list((tmp_path / "run").iterdir())


def test_a_worker_with_another_version_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other" / "numpy-9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9\n")
    path = {"PYTHONPATH": f"{other.parent}:{ROOT}"}
    with job_service(tmp_path / "servers", path) as cluster, pytest.raises(EngineError) as caught:
        check_engine(cluster.options, tmp_path)
    pattern = r"worker on \S+: expected numpy {}, as in the process that started the run\. Received: 9\.9"
    assert re.fullmatch(pattern.format(re.escape(versions()["numpy"])), str(caught.value))


def test_workers_without_this_package_are_named(tmp_path: Path) -> None:
    (tmp_path / "other" / "tfx_pipeline").mkdir(parents=True)
    (tmp_path / "other" / "tfx_pipeline" / "__init__.py").touch()
    path = {"PYTHONPATH": str(tmp_path / "other")}
    with job_service(tmp_path / "servers", path) as cluster, pytest.raises(EngineError) as caught:
        check_engine(cluster.options, tmp_path)
    assert str(caught.value).startswith("workers: expected this package, in the version of this process. Received: No")


def test_no_pool_is_no_endless_wait(tmp_path: Path) -> None:
    with servers(tmp_path) as group, reserved_port() as jobs, reserved_port() as nobody:
        start_jobs(group, jobs)
        options = engine_options("spark", job_server=f"localhost:{jobs}", workers=f"localhost:{nobody}")
        with pytest.raises(EngineError, match=f"job server localhost:{jobs}: expected"):
            check_engine(options, tmp_path, seconds=20)


def test_the_run_command_ends_at_once_without_a_job_server(data: Path, tmp_path: Path) -> None:
    with reserved_port() as nobody:
        code, line, told = run(data, tmp_path / "out", ["--engine", "flink", "--job-server", f"localhost:{nobody}"])
    assert code == 2 and line["outcome"] == "bad input"
    assert line["reasons"] == [
        f"job server localhost:{nobody}: expected Beam's job server. Received: [Errno 111] Connection refused"
    ]
    assert told.splitlines()[-1] == line["reasons"][0]
