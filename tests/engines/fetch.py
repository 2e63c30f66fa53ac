"""Puts Flink, Spark and Beam's job servers for them into .engines/: `make engines`.

python -m tests.engines.fetch --out .engines

Job servers come by Maven, with the machine's own Maven settings; Flink and Spark come as the packages of PyPI that hold
their jars, with pip. Versions and checksums are in pinned.json. An engine whose job server cannot be had is left out,
and the exit code is 2. --flink-job-server and --spark-job-server name jars that were built or fetched otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.fingerprint import file_digest

PINNED: dict[str, Any] = json.loads(Path(__file__).with_name("pinned.json").read_text(encoding="utf-8"))
JOB_SERVER, HOME = "job-server.jar", "home"
#: The folder of a package that holds bin, lib or jars.
_INSIDE = "deps"


class FetchError(ValueError):
    """An engine cannot be had. The message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetches what is not there; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.engines.fetch", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path(".engines"), help="folder to fill (default: %(default)s)")
    for engine in PINNED:
        parser.add_argument(
            f"--{engine}-job-server", type=Path, metavar="JAR", help="Beam's job server (default: Maven)"
        )
    given = parser.parse_args(arguments)
    try:
        check_tools()
        missing = [error for engine in PINNED if (error := _fetched(engine, given))]
    except FetchError as error:
        missing = [str(error)]
    if missing:
        sys.stderr.write(f"make engines: {'; '.join(missing)}\n")
    return 2 if missing else 0


def check_tools() -> None:
    """Checks that Java and Maven are there.

    Raises:
        FetchError: If one is not.
    """
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        raise FetchError(f"expected Java 11 or 17 and Maven on the path. Received: no {' and no '.join(missing)}")


def _fetched(engine: str, given: argparse.Namespace) -> str | None:
    """Fetches an engine; returns why it cannot be had, or None."""
    folder = given.out / engine
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if not (folder / JOB_SERVER).exists():
            _put_job_server(engine, getattr(given, f"{engine}_job_server"), folder)
        if not (folder / HOME).exists():
            _put_home(PINNED[engine]["package"], folder)
    except FetchError as error:
        return str(error)
    return None


def _put_job_server(engine: str, given: Path | None, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        if given is not None:
            if not given.is_file():
                raise FetchError(f"--{engine}-job-server: expected a jar. Received: {given}")
            jar = Path(shutil.copy(given, aside))
        else:
            jar = _by_maven(PINNED[engine]["job_server"], Path(aside))
        jar.rename(folder / JOB_SERVER)


def _by_maven(pinned: dict[str, Any], aside: Path) -> Path:
    version = metadata.version("apache-beam")
    artifact = f"{pinned['artifact']}:{version}"
    command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={aside}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    jars = sorted(aside.glob("*.jar"))
    if done.returncode or not jars:
        raise FetchError(f"expected {artifact} from Maven. Received: none")
    _check(jars[0], artifact, pinned["sha256"].get(version))
    return jars[0]


def _put_home(pinned: dict[str, str], folder: Path) -> None:
    wanted = f"{pinned['name']}=={pinned['version']}"
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        done = subprocess.run([*command, "-d", aside, wanted], capture_output=True, text=True, check=False)
        archives = sorted(Path(aside).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise FetchError(f"expected {wanted} from pip. Received: none")
        _check(archives[0], wanted, pinned["sha256"])
        with tarfile.open(archives[0]) as archive:
            archive.extractall(aside, filter="data")
        (inside,) = Path(aside).glob(f"*/{_INSIDE}")
        inside.rename(folder / HOME)


def _check(file: Path, what: str, expected: str | None) -> None:
    found = file_digest(file)
    if expected is None:
        sys.stderr.write(f"make engines: {what}: no checksum is pinned. Received: sha256 {found}\n")
    elif found != expected:
        raise FetchError(f"{what}: expected sha256 {expected}. Received: {found}")


if __name__ == "__main__":
    sys.exit(main())
