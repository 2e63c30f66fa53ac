"""The engines that are here, a small catalogue, and one run of the pipeline in a process of its own to compare with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engines.fetch import HOME, JOB_SERVER
from tests.engines.flink import flink
from tests.engines.job_service import Cluster, job_service
from tests.engines.processes import ROOT, python_environment
from tests.engines.spark import spark

ENGINES = ROOT / ".engines"
#: Settings that train in seconds and share out the targeting; any model is good enough to be pushed.
SETTINGS = {
    "split": {"min_listeners": 19},
    "transform": {"min_frequency": 1},
    "model": {"epochs": 2, "batch_size": 64, "hidden_dims": [32], "field_dim": 16, "embedding_dim": 16},
    "evaluation": {"min_gain": -1.0, "bootstrap": 50},
    "targeting": {"listeners_per_song": 10, "clusters": 3, "songs_per_shard": 100, "plays_per_shard": 3000},
    "refit": "index",
}
Started = Callable[..., AbstractContextManager[Cluster]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what starts engines, so that `make test` leaves it to `make test-engines`."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("engine")


@pytest.fixture(scope="session", params=["job service", "flink", "spark"])
def start(request: pytest.FixtureRequest) -> Started:
    """Starts an engine in a folder. Beam's own job service is always here; it is called as the others are."""
    if request.param == "job service":
        return job_service
    home = ENGINES / request.param
    if not ((home / JOB_SERVER).exists() and (home / HOME).exists()):
        pytest.skip(f"{home} lacks Beam's job server or {request.param.title()}: make engines")

    @contextmanager
    def started(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
        engine = flink if request.param == "flink" else spark
        with engine(home / HOME, home / JOB_SERVER, folder, environment) as cluster:
            yield cluster

    return started


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tfx_pipeline.datasets.simulate import simulate

    folder = tmp_path_factory.mktemp("catalogue") / "data"
    simulate(folder, songs=300, users=150, plays=9000, seed=1)
    (folder.parent / "settings.json").write_text(json.dumps(SETTINGS))
    return folder


@pytest.fixture(scope="session")
def in_process(data: Path) -> Path:
    """The folder of a run without an engine."""
    out = data.parent / "in process"
    code, line, told = run(data, out)
    assert code == 0 and line["outcome"] == "pushed", told
    return out


def run(data: Path, out: Path, options: Sequence[str] = ()) -> tuple[int, dict[str, Any], str]:
    """Runs the pipeline as a command; returns exit code, the line of JSON, and standard error."""
    settings = str(data.parent / "settings.json")
    words = ["--data", str(data), "--out", str(out), "--settings", settings, *options]
    return called([sys.executable, "-m", "tfx_pipeline.run", *words])


def called(command: Sequence[str]) -> tuple[int, dict[str, Any], str]:
    """Runs a command in another folder than the workers'; returns exit code, line of JSON, and standard error."""
    import os

    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **python_environment()},
    )
    return done.returncode, json.loads(done.stdout), done.stderr
