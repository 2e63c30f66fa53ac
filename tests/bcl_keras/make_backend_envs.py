"""Make one light environment per Keras backend under .venvs/: keras, numpy and that backend's CPU build, nothing else.

    python tests/bcl_keras/make_backend_envs.py [tensorflow] [jax] [torch]

That bcl_keras works in them proves both the backends and the light install. An environment that is there already and
has its backend is left alone; a failed one is removed, so that the tests skip it and say so.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# That of the lane; 2.16 has no build for Python 3.13.
TENSORFLOW = "tensorflow-cpu==2.16.2" if sys.version_info < (3, 12) else "tensorflow-cpu==2.21.0"
VERSIONS = {"tensorflow": TENSORFLOW, "jax": "jax[cpu]>=0.4.34,<0.8", "torch": "torch==2.13.0"}
KERAS = "keras==3.15.1"
# Keras needs scipy for nothing we use; pandas, tfx and the like must not slip in.
NUMPY = "numpy>=1.26"
LONGEST_SECONDS = 3600
COMPLAINTS: list[str] = []


def main(names: list[str]) -> int:
    """Make the environments named, or all."""
    unknown = sorted(set(names) - set(VERSIONS))
    if unknown:
        sys.stderr.write(f"Backends must be of {sorted(VERSIONS)}. Received: {unknown}\n")
        return 2
    failed = [name for name in names or list(VERSIONS) if not make(name)]
    for name in failed:
        sys.stderr.write(f"Could not make .venvs/{name}: its tests will be skipped\n")
    if failed:
        sys.stderr.write("\n".join(COMPLAINTS) + "\n")
    return 1 if failed else 0


def make(name: str) -> bool:
    """Make one environment, and return whether its backend can be imported in it."""
    folder = ROOT / ".venvs" / name
    python = folder / "bin" / "python"
    module = {"tensorflow": "tensorflow"}.get(name, name)
    if python.exists() and _succeeds([python, "-c", f"import numpy, {module}"]):
        return True
    shutil.rmtree(folder, ignore_errors=True)
    if not _succeeds([sys.executable, "-m", "venv", folder]):
        return False
    made = any(_succeeds(command) for command in _install(name, python)) and _succeeds(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "-e", ROOT]
    )
    if not made:
        shutil.rmtree(folder, ignore_errors=True)
    return made


def _install(name: str, python: Path) -> list[list[object]]:
    """Return the commands to try, the best first."""
    wanted = [KERAS, NUMPY, VERSIONS[name]]
    uv = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", python]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if name == "torch":
        # The default build for Linux brings gigabytes of CUDA; uv knows where the CPU builds are. pip comes next,
        # because its own settings may point to one.
        return [[*uv, "--torch-backend", "cpu", *wanted], [*pip, *wanted]]
    return [[*uv, *wanted], [*pip, *wanted]]


def _succeeds(command: list[object]) -> bool:
    """Run a command, and keep the message of a failure for `main`, since the next command may succeed."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            timeout=LONGEST_SECONDS,
            capture_output=True,
            text=True,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        COMPLAINTS.append(str(error))
        return False
    if done.returncode:
        COMPLAINTS.append(done.stderr[-1000:])
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
