"""Whether a Beam engine can run the steps: asked before the first one, with one small job.

What would fail an hour later, or hang, is named at once: a job server or workers that do not answer, workers with other
versions than this process, and a run folder that a worker does not see.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.beam_options import job_server
from tfx_pipeline.runtime.fingerprint import code_fingerprint

#: Seconds. A worker imports TensorFlow before it answers.
TO_CONNECT, TO_ANSWER = 10, 300
#: How many elements the workers share. An engine that spreads them reaches each of a few workers.
_ELEMENTS = 64
_PACKAGES = ("apache-beam", "tfx", "tfx-bsl", "tensorflow", "tensorflow-transform", "numpy", "pyarrow")
_CODE = "code of tfx_pipeline"
_FILE = "versions.json"


class EngineError(ValueError):
    """The engine cannot run the steps. The message says which part, what was expected and what was received."""


def check_engine(options: Sequence[str], folder: Path, seconds: float = TO_ANSWER) -> None:
    """Runs a small job on the engine that compares the workers with this process.

    Engines that need no job server use this process's installation and files, so they are not asked.

    Args:
        options: Beam's options.
        folder: The run folder, which every worker must see under the same path.
        seconds: How long the workers may take to answer.

    Raises:
        EngineError: If the engine cannot run the steps.
    """
    server = job_server(options)
    if server is None:
        return
    _check_connection(server)
    aside = folder / f".engine_check-{uuid.uuid4().hex[:12]}"
    aside.mkdir(parents=True)
    try:
        (aside / _FILE).write_text(json.dumps(versions()), encoding="utf-8")
        _run_probe(options, aside, seconds)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def versions() -> dict[str, str]:
    """Returns the versions of what this process and the workers exchange pickled, and a digest of our code."""
    found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found | {_CODE: code_fingerprint("tfx_pipeline.pipeline")[:12]}


def _check_connection(server: str) -> None:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=TO_CONNECT).close()
    except (OSError, ValueError) as error:
        raise EngineError(f"job server {server}: expected Beam's job server. Received: {error}") from error


def _run_probe(options: Sequence[str], aside: Path, seconds: float) -> None:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    pipeline = beam.Pipeline(options=PipelineOptions(list(options)))
    _ = pipeline | beam.Create(range(_ELEMENTS)) | beam.Reshuffle() | beam.Map(_probe, str(aside), versions())
    try:
        result = pipeline.run()
        state = result.wait_until_finish(duration=int(1000 * seconds))
    except Exception as error:
        raise EngineError(_in_words(str(error), job_server(options) or "")) from error
    if state not in ("DONE", "DRAINED"):
        _cancel(result)
        raise EngineError(
            f"workers of job server {job_server(options)}: expected an answer within {seconds:g} s. Received: none; "
            f"the job's state is {state}"
        )


def _cancel(result: Any) -> None:
    try:
        result.cancel()
    except Exception:  # the job server may have gone meanwhile
        return


def _probe(_: int, aside: str, expected: dict[str, str]) -> None:
    """Runs in a worker: raises what differs from the process that asks."""
    host, found = socket.gethostname(), versions()
    different = [name for name in expected if found.get(name) != expected[name]]
    if different:
        name = different[0]
        raise EngineError(
            f"worker on {host}: expected {name} {expected[name]}, as in the process that started the run. "
            f"Received: {found.get(name)}"
        )
    try:
        with open(os.path.join(aside, _FILE), encoding="utf-8") as file:
            json.load(file)
        with open(os.path.join(aside, f"worker-{uuid.uuid4().hex}"), "w", encoding="utf-8"):
            pass
    except OSError as error:
        raise EngineError(
            f"worker on {host}: expected the run folder {os.path.dirname(aside)} to read and write. "
            f"Received: {error.strerror}"
        ) from error


#: What an engine reports of a worker's error, and the sentence for it.
_REPORTED = (
    (r"EngineError: (worker on .*?)(?: \[while running.*)?$", r"\1"),
    (
        r"Submission environment: (\S+)\. Runtime environment: (\S+?)\.?$",
        r"workers: expected Beam and Python of this process, \1. Received: \2",
    ),
    (
        r"ModuleNotFoundError: (No module named \S*(?:tfx_pipeline|bcl_keras|serving)\S*)",
        r"workers: expected this package, in the version of this process. Received: \1",
    ),
)


def _in_words(report: str, server: str) -> str:
    for pattern, sentence in _REPORTED:
        if found := re.search(pattern, report, re.MULTILINE):
            return found.expand(sentence)
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    return f"job server {server}: expected a small job to run. Received: {lines[-1] if lines else 'an error'}"
