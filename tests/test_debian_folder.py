"""`make test-latest` and the Dockerfile's steps where they cannot run, and what the Dockerfile copies."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SCRIPTS = {"latest_lane.sh": "make test-latest", "docker_steps.sh": "tests/docker_steps.sh"}
BASH = shutil.which("bash") or "/bin/bash"


def refusal(script: str, path: Path) -> str:
    command = [str(BASH), str(TESTS / script)]
    done = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"{SCRIPTS[script]}: ")
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which is asked for first")
def test_a_missing_command_is_named(tmp_path: Path, script: str) -> None:
    assert "needs the command debootstrap, which is not here" in refusal(script, tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.skipif(os.geteuid() == 0, reason="needs to be another user than root")
def test_root_is_asked_for(tmp_path: Path, script: str) -> None:
    assert f"needs root, to mount and to chroot. Received: user id {os.geteuid()}" in refusal(script, tmp_path)


def test_docker_copies_nothing_that_git_ignores() -> None:
    """The image must not get environments of this machine, nor what runs left."""
    ignored, left_out = (
        {line.strip("/").removeprefix("**/") for line in (TESTS.parent / name).read_text().split()}
        for name in (".gitignore", ".dockerignore")
    )
    assert ignored - left_out == set()


def test_the_image_is_set_up_for_the_lane_of_its_debian() -> None:
    """Debian 13, trixie, has the glibc and the Python of lane tfx-1.21. `make test-latest` runs on it, too."""
    dockerfile = (TESTS.parent / "Dockerfile").read_text()
    assert "debian:trixie-slim" in dockerfile and "RELEASE=trixie" in (TESTS / "latest_lane.sh").read_text()
    assert "RUN make .venv/ready-tfx-1.21\n" in dockerfile
