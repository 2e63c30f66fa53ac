"""Smoke test of the real TensorFlow Serving: starts serving/compose.yaml, asks for an embedding and matches, stops it.

    make serve-smoke MODEL_DIR=path/of/serving/bcl

Needs Docker with its compose plugin. Exit code 0 where every check passed, 1 where one failed, 2 without Docker.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.client import Client, ServingError, UnknownSongWarning

_COMPOSE = Path(__file__).with_name("compose.yaml")
_TARGET, _REST = "localhost:8500", "http://localhost:8501"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def missing_docker() -> str | None:
    """Returns why compose files cannot be run here, None where they can."""
    docker = shutil.which("docker")
    if docker is None:
        return "no `docker` command"
    for command, lacks in ((["compose", "version"], "its compose plugin"), (["info"], "a daemon that answers")):
        if subprocess.run([docker, *command], capture_output=True, check=False).returncode != 0:
            return f"{docker} without {lacks} (`docker {' '.join(command)}` failed)"
    return None


def check_model_dir(path: str) -> str:
    """Returns the absolute path of a folder with at least one version folder.

    Raises:
        ValueError: If there is none.
    """
    folder = Path(path).resolve()
    if not folder.is_dir() or not any(entry.name.isdigit() for entry in folder.iterdir()):
        raise ValueError(f"`MODEL_DIR` must hold version folders such as 1/. Received: {path}")
    return str(folder)


def check(target: str = _TARGET, rest: str = _REST) -> None:
    """Asks a running server what a service asks: status, metadata, embedding, matches, REST.

    Raises:
        AssertionError, ServingError, OSError, TimeoutError: If a check failed.
    """
    with Client(target) as client, warnings.catch_warnings():
        # Songs without values fit any model, which warns that it knows nothing of them.
        warnings.simplefilter("ignore", UnknownSongWarning)
        versions = client.wait_until_available(timeout=120)
        _say(f"available: version {versions[0].version}")
        signatures = client.metadata()
        missing = {"serving_default", "embed", "match"} - set(signatures)
        assert not missing, f"signatures {sorted(missing)} are missing"
        embedding = client.embed([{}])
        assert embedding.ndim == 2, f"embedding of shape {embedding.shape}"
        assert np.isfinite(embedding).all(), "embedding with NaN or infinity"
        ids, scores = client.match([{}, {}], k=3)
        assert ids.shape == scores.shape, f"ids of shape {ids.shape} and scores of shape {scores.shape}"
        assert (np.diff(scores, axis=1) <= 0).all(), "matches are not in order"
        _say(f"embedding of {embedding.shape[1]} numbers; {ids.shape[1]} places for matches")
    with urllib.request.urlopen(f"{rest}/v1/models/bcl", timeout=10) as reply:
        states: Any = json.load(reply)["model_version_status"]
    assert any(state["state"] == "AVAILABLE" for state in states), f"REST lists {states}"
    with urllib.request.urlopen(f"{rest}/monitoring/prometheus/metrics", timeout=10) as reply:
        assert b":tensorflow:serving:request_count" in reply.read(), "no metrics"
    _say("REST status and metrics answer")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="make serve-smoke MODEL_DIR=folder, or python -m serving.smoke MODEL_DIR",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model_dir", nargs="?", metavar="MODEL_DIR", help="folder that holds the model's version folders"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the smoke test and returns the exit code."""
    parser = _parser()
    model_dir = parser.parse_args(argv).model_dir
    if model_dir is None:
        parser.print_usage(sys.stderr)
        return 2
    if (found := missing_docker()) is not None:
        sys.stderr.write(f"The smoke test runs the real TensorFlow Serving: expected Docker. Received: {found}.\n")
        return 2
    try:
        environment = {**os.environ, "MODEL_DIR": check_model_dir(model_dir)}
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    command = ["docker", "compose", "-f", str(_COMPOSE)]
    try:
        subprocess.run([*command, "up", "-d"], env=environment, check=True)
        check()
    except (AssertionError, ServingError, OSError, TimeoutError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"smoke test failed: {error}\n")
        return 1
    finally:
        subprocess.run([*command, "down"], env=environment, check=False)
    _say("smoke test passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
