"""The package: its version, and the mark that it is typed."""

from __future__ import annotations

import re
from pathlib import Path

import bcl_keras


def test_the_version_is_that_of_the_project() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.findall(r'^version = "(.+)"$', project, re.MULTILINE) == [bcl_keras.__version__]


def test_type_checkers_may_read_the_hints() -> None:
    assert Path(bcl_keras.__file__).with_name("py.typed").exists()
