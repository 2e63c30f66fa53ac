"""The version of the code that made a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tfx_pipeline.runtime.fingerprint import code_fingerprint

_ROOT = Path(__file__).resolve().parents[2]
#: Modules that the pipeline imports, or names without importing them.
_MODULES = ("pipeline", "models.trainer", "models.preprocessing", "models.tuner", "refit.trainer", "outputs.publishing")


def code_version() -> dict[str, str | None]:
    """Returns the fingerprint of the code, and its commit if it lies in a checkout of its own."""
    return {"fingerprint": code_fingerprint(*(f"tfx_pipeline.{name}" for name in _MODULES)), "commit": _commit()}


def _commit() -> str | None:
    """Returns the commit, with `-changed` if files differ from it; None for an installed package, or without git."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != _ROOT:
        return None
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-changed" if commit and changed else commit


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
