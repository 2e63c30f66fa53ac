"""`--engine`: Beam's options for an engine, made from the few addresses that a user knows."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import Literal, get_args

from tfx_pipeline.runtime.beam_options import LIMIT_VARIABLE, VARIABLE, job_limit

Engine = Literal["local", "flink", "spark"]
JOB_SERVER = "localhost:8099"
WORKERS = "localhost:50000"
_WITH_ENGINE = ("job_server", "workers", "worker_image", "parallelism", "job_limit")
_ADDRESS = re.compile(r"[^/:\s]+:[0-9]+")
#: The word has no meaning, but without one TFX packs this package for the workers before every step.
_INSTALLED = "installed"


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--engine` and what it needs."""
    parser.add_argument(
        "--engine",
        choices=get_args(Engine),
        help="engine of the Beam steps (default: local, which is this process, or what BCL_BEAM names)",
    )
    parser.add_argument(
        "--job-server", metavar="HOST:PORT", help=f"with --engine: Beam's job server (default: {JOB_SERVER})"
    )
    parser.add_argument(
        "--workers",
        metavar="HOST:PORT",
        help=f"with --engine: pool of SDK workers, as each host reaches its own (default: {WORKERS})",
    )
    parser.add_argument(
        "--worker-image",
        metavar="IMAGE",
        help="with --engine: image that each host starts in place of --workers (default: none)",
    )
    parser.add_argument(
        "--job-limit",
        type=float,
        metavar="SECONDS",
        help="with --engine: seconds that one step's Beam job may take (default: no limit)",
    )
    parser.add_argument(
        "--parallelism",
        type=int,
        metavar="N",
        help="with --engine flink: tasks at once (default: Flink's, often 1)",
    )


def use_engine(arguments: argparse.Namespace) -> None:
    """Makes the engine of the options that of this process: sets BCL_BEAM, from which every step reads it.

    Args:
        arguments: The options as they were parsed.

    Raises:
        ValueError: If the options contradict each other or BCL_BEAM.
    """
    given = {name: getattr(arguments, name) for name in _WITH_ENGINE if getattr(arguments, name) is not None}
    if arguments.engine in (None, "local") and given:
        option = f"--{next(iter(given)).replace('_', '-')}"
        received = f"--engine {arguments.engine}" if arguments.engine else "no --engine"
        raise ValueError(f"{option}: expected --engine flink or spark with it. Received: {received}")
    if arguments.engine is None:
        return
    if os.environ.get(VARIABLE):
        raise ValueError(f"--engine: expected no {VARIABLE} beside it. Received: {VARIABLE}={os.environ[VARIABLE]!r}")
    if arguments.engine != "local":
        limit = given.pop("job_limit", None)
        os.environ[VARIABLE] = shlex.join(engine_options(arguments.engine, **given))
        if limit is not None:
            os.environ[LIMIT_VARIABLE] = str(limit)
            job_limit()


def engine_options(
    engine: Engine,
    *,
    job_server: str = JOB_SERVER,
    workers: str | None = None,
    worker_image: str | None = None,
    parallelism: int | None = None,
) -> tuple[str, ...]:
    """Returns the options for Beam.

    Args:
        engine: `"flink"` or `"spark"`, behind a job server of Beam.
        job_server: Its address.
        workers: Address of a pool of SDK workers, as each host of the cluster reaches its own. Defaults to `WORKERS`.
        worker_image: An image that each host starts with Docker, in place of a pool.
        parallelism: How many tasks Flink runs at once. Defaults to Flink's own number.

    Raises:
        ValueError: If an address or a number cannot be used.
    """
    if workers is not None and worker_image is not None:
        raise ValueError(f"--worker-image: expected no --workers beside it. Received: --workers {workers}")
    workers = workers or WORKERS
    for option, address in (("--job-server", job_server), ("--workers", workers)):
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{option}: expected HOST:PORT. Received: {address!r}")
    if parallelism is not None and (engine != "flink" or parallelism < 1):
        raise ValueError(f"--parallelism: expected at least 1, with Flink. Received: {parallelism} with {engine}")
    kind, place = ("EXTERNAL", workers) if worker_image is None else ("DOCKER", worker_image)
    options = [
        "--runner=PortableRunner",
        f"--job_endpoint={job_server}",
        f"--environment_type={kind}",
        f"--environment_config={place}",
        f"--sdk_container_image={worker_image or _INSTALLED}",
    ]
    if engine == "flink":
        # Branches of one step that are joined later may block each other while Flink streams between tasks.
        options.append("--execution_mode_for_batch=BATCH_FORCED")
    if parallelism is not None:
        options.append(f"--parallelism={parallelism}")
    return tuple(options)
