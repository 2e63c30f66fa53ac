"""A server of the S3 protocol that a test starts: moto's, from an environment of its own.

BCL_TEST_MOTO names a Python that has `moto[server,s3]`; without it the tests' own Python and .venvs/moto are tried. The
project does not depend on moto: it brings boto3 and cryptography, and its server is asked over HTTP alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
KEY, SECRET = "AKIATESTTESTTEST", "secret/with+signs=and-more"


def python_with_moto() -> str | None:
    """Returns a Python that can run moto's server; None where there is none."""
    given = [os.environ.get("BCL_TEST_MOTO", ""), sys.executable, str(ROOT / ".venvs" / "moto" / "bin" / "python")]
    for python in filter(os.path.exists, given):
        command = [python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('moto') is None)"]
        if subprocess.run(command, check=False).returncode == 0:
            return python
    return None


class S3Server:
    """The server.

    Attributes:
        url: Where it answers.
        log: What it was asked.
    """

    def __init__(self, url: str, log: Path) -> None:
        self.url, self.log = url, log
        host = url.removeprefix("http://")
        self.system = fs.S3FileSystem(
            access_key=KEY,
            secret_key=SECRET,
            endpoint_override=host,
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def put(self, path: str, content: bytes | pa.Table) -> None:
        """Writes an object, bucket and all."""
        self.system.create_dir(path.split("/", 1)[0])
        with self.system.open_output_stream(path) as stream:
            if isinstance(content, bytes):
                stream.write(content)
            else:
                pq.write_table(content, stream)

    def asked(self) -> list[str]:
        """Returns the method and path of each request, in their order. Colours come before some."""
        return re.findall(r'["m]([A-Z]+ \S+) HTTP', self.log.read_text(errors="replace"))

    def read_since(self, before: int) -> list[str]:
        """Returns the paths of objects whose bytes were asked for, after a number of requests."""
        reads = (line.removeprefix("GET ") for line in self.asked()[before:] if line.startswith("GET "))
        return [path for path in reads if "list-type" not in path]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Starts the server, and stops it afterwards; skips the test where moto is not installed."""
    python = python_with_moto()
    if python is None:
        pytest.skip("expected a Python with moto[server,s3] in BCL_TEST_MOTO or .venvs/moto. Received: none")
    log = folder / "s3.log"
    with log.open("wb") as out:
        command = [python, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        yield S3Server(_url(server, log), log)
    finally:
        server.terminate()
        server.wait()


def _url(server: subprocess.Popen[bytes], log: Path) -> str:
    found: list[str] = []

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        found[:] = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())
        return bool(found)

    eventually(answers)
    return found[0]
