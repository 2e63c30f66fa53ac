"""The same similar songs and targets in memory, from several processes, and from a pool of external workers."""

import contextlib
import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from tests.waiting import LAST_RESORT, eventually, reserved_port
from tfx_pipeline.contract.splits import ColdSplit
from tfx_pipeline.labels.config import AudienceConfig
from tfx_pipeline.labels.similar_songs import FindSimilarSongs
from tfx_pipeline.runtime.beam_options import IN_MEMORY
from tfx_pipeline.targeting import TargetingConfig

CONFIG = TargetingConfig(
    rule="hybrid", hybrid_with="cat", clusters=3, reach="expand", cap=4, listeners_per_song=10, held_aside=0.2,
    songs_per_shard=4, plays_per_shard=300,
)  # fmt: skip


@contextlib.contextmanager
def portable_runner():
    """A job service and a worker pool of their own; yields the pipeline options that use them."""
    with reserved_port() as jobs, reserved_port() as workers:
        yield from _serving(jobs, workers)


def _serving(jobs: int, workers: int):
    modules = (
        ["apache_beam.runners.portability.local_job_service_main", "-p", str(jobs)],
        ["apache_beam.runners.worker.worker_pool_main", "--service_port", str(workers)],
    )
    # The pool starts workers with whatever `python` is on the path; one without Beam dies, and the job waits forever.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment, quiet = {**os.environ, "PATH": path}, subprocess.DEVNULL
    processes = [
        subprocess.Popen([sys.executable, "-m", *module], stdout=quiet, stderr=quiet, env=environment)
        for module in modules
    ]
    try:
        for port, process in zip((jobs, workers), processes, strict=True):
            assert eventually(functools.partial(_listens_or_ended, port, process))
            assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        service = (f"--job_endpoint=localhost:{jobs}", f"--job_server_timeout={LAST_RESORT}")
        pool = ("--environment_type=EXTERNAL", f"--environment_config=localhost:{workers}")
        yield ("--runner=PortableRunner", *service, *pool)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens_or_ended(port: int, process: subprocess.Popen[bytes]) -> bool:
    return _listens(port) or process.poll() is not None


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
        return True
    return False


def similar_songs(options: tuple[str, ...], out: Path) -> list[str]:
    """Each song with its split, listeners and similar songs, as a runner with these options finds them."""
    rng = np.random.default_rng(3)
    columns = [[f"{name}{i}" for i in rng.integers(n, size=900)] for name, n in (("u", 50), ("s", 40))]
    plays = pa.table(columns, ["user_id", "song_id"])
    with beam.Pipeline(options=PipelineOptions([*options])) as pipeline:
        found = pipeline | beam.Create([plays]) | FindSimilarSongs(AudienceConfig(shards=3, top_m=5), ColdSplit())
        # By value to workers that do not know this file.
        lines = found | beam.Map(lambda row: f"{row[0]} {row[1].split} {row[1].listeners} {row[1].ids} {row[1].scores}")
        lines | beam.io.WriteToText(str(out))
    return sorted(line for file in out.parent.glob(f"{out.name}-*") for line in file.read_text().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", "portable"])
def test_every_runner_finds_the_same(run_world, runner, tmp_path):
    expected = run_world(CONFIG)
    in_memory = similar_songs(IN_MEMORY, tmp_path / "in memory")
    with contextlib.ExitStack() as stack:
        if runner == "portable":
            options = stack.enter_context(portable_runner())
        else:
            options = ("--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
        found = run_world(CONFIG, options=options)
        assert similar_songs(options, tmp_path / runner) == in_memory
    assert len(in_memory) == 40
    assert expected.targets and found.targets == expected.targets
    assert {row["group"] for row in found.targets} == {"target", "held_aside"}
    assert found.summary == expected.summary
    assert found.marker["counts"] == expected.marker["counts"]
