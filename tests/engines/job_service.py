"""Beam's own job service in a process of its own, with a pool of SDK workers: the calls of Flink's and Spark's."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engines.processes import Server, Servers, servers
from tests.waiting import reserved_port
from tfx_pipeline.runtime.engine import Engine, engine_options
from tfx_pipeline.runtime.stopping import descendants


@dataclass(frozen=True)
class Cluster:
    """What a run is given, and what a test kills.

    Attributes:
        engine: The word for `--engine`.
        jobs: Port of the job server.
        pool: Port of the pool of SDK workers.
        servers: Its processes by name: `jobs`, `pool`, and those of Flink or Spark.
    """

    engine: Engine
    jobs: int
    pool: int
    servers: Servers

    @property
    def arguments(self) -> list[str]:
        """Options of the commands."""
        return [
            "--engine",
            self.engine,
            "--job-server",
            f"localhost:{self.jobs}",
            "--workers",
            f"localhost:{self.pool}",
        ]

    @property
    def options(self) -> tuple[str, ...]:
        """Options of Beam."""
        return engine_options(self.engine, job_server=f"localhost:{self.jobs}", workers=f"localhost:{self.pool}")

    def workers(self) -> list[int]:
        """Process ids of the SDK workers that run now; one that was killed stays a zombie of its pool."""
        return [pid for pid in descendants(self.servers["pool"].pid) if Path(f"/proc/{pid}/exe").exists()]


def start_jobs(group: Servers, port: int) -> Server:
    """Starts the job service."""
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "-p", str(port)]
    return group.start("jobs", command, port=port)


def start_pool(group: Servers, port: int, environment: dict[str, str] | None = None) -> Server:
    """Starts a pool, which starts a worker whenever the job server asks for one."""
    command = [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", "--service_port", str(port)]
    return group.start("pool", command, port=port, environment=environment)


@contextmanager
def job_server_jar(
    group: Servers, command: Sequence[str | Path], environment: dict[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Starts Beam's jar for an engine and a pool, and yields their ports.

    Args:
        group: Servers that they end with.
        command: Starts the jar, with the address of the engine's master.
        environment: What differs for the workers.
    """
    with reserved_port() as jobs, reserved_port() as artifacts, reserved_port() as pool:
        options = {"job-host": "127.0.0.1", "job-port": jobs, "artifact-port": artifacts, "expansion-port": 0}
        words = [f"--{name}={value}" for name, value in options.items()]
        group.start("jobs", [*command, *words, f"--artifacts-dir={group.folder / 'staged'}"], port=jobs)
        start_pool(group, pool, environment)
        yield jobs, pool


@contextmanager
def job_service(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Cluster]:
    """Yields the job service with its pool, ready for jobs.

    Args:
        folder: For logs.
        environment: What differs for the workers.
    """
    with reserved_port() as jobs, reserved_port() as pool, servers(folder) as group:
        start_jobs(group, jobs)
        start_pool(group, pool, environment)
        yield Cluster("flink", jobs, pool, group)
