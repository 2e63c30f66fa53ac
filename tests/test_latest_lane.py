"""`make test-latest` where it cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("latest_lane.sh")
BASH = shutil.which("bash") or "/bin/bash"


def refusal(path: Path) -> str:
    command = [BASH, SCRIPT]
    done = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    return done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which is asked for first")
def test_a_missing_command_is_named(tmp_path: Path) -> None:
    assert "needs the command debootstrap, which is not here" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="needs to be another user than root")
def test_root_is_asked_for(tmp_path: Path) -> None:
    assert f"needs root, to mount and to chroot. Received: user id {os.geteuid()}" in refusal(tmp_path)
