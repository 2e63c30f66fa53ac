"""README's lines that serve a model and ask it, as they stand, on a real export."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import small_export

from tests.waiting import reserved_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def only(pattern: str) -> str:
    """Returns what the pattern finds in README, which is one thing."""
    (found,) = re.findall(pattern, README, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(small_export.catalogue(30))


@pytest.fixture(scope="module")
def address(exported: small_export.SmallExport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the server that README's line starts, below the folder in which RUN is."""
    here = tmp_path_factory.mktemp("readme")
    exported.export(here / "RUN" / "serving" / "1")
    (here / "serving").symlink_to(ROOT / "serving")
    line = only(r"^ {4}\.venv/bin/(python -m serving\.server (?:[^\n]*\\\n)?[^\n]*)$")
    with reserved_port() as port:
        command = f"exec {sys.executable} {line.removeprefix('python ')}".replace("8500", str(port))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        server = subprocess.Popen(["sh", "-c", command], cwd=here, env=environment, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            assert str(port) in server.stdout.readline()
            yield f"localhost:{port}"
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()


def test_the_lines_of_the_client(exported: small_export.SmallExport, address: str) -> None:
    lines = only(r"^```python\n(from serving\.client .*?)^```")
    found: dict = {}
    exec(lines.replace("localhost:8500", address), found)
    assert found["ids"].shape == found["scores"].shape == (1, 10)
    expected = (exported.embed([found["song"]]) @ exported.index.T)[0]
    best = np.argsort(-expected)[:10]
    assert found["ids"][0].astype(str).tolist() == [exported.ids[row] for row in best]
    np.testing.assert_allclose(found["scores"][0], expected[best], atol=1e-5)
