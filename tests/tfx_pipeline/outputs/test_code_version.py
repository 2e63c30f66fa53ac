"""Which code a run says that it was made by."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tfx_pipeline.outputs import code_version as module
from tfx_pipeline.outputs.code_version import code_version


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_a_checkout_of_its_own(tmp_path, monkeypatch):
    package = tmp_path / "lib" / "packages"
    package.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setattr(module, "_ROOT", tmp_path.resolve())
    assert code_version()["commit"] == commit
    (tmp_path / "new").write_text("not of the code yet")
    assert code_version()["commit"] == commit
    (tmp_path / "file").write_text("2")
    assert code_version()["commit"] == f"{commit}-changed"
    monkeypatch.setattr(module, "_ROOT", package.resolve())  # installed into somebody else's checkout
    assert code_version()["commit"] is None


def test_without_git_there_is_a_fingerprint(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = code_version()
    assert found["commit"] is None and len(found["fingerprint"] or "") == 32
