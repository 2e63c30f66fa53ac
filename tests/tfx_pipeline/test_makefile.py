"""What make passes on is what the user wrote, whatever the shell or make would take it for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
NAMES = [
    "a folder/with spaces",
    "it's",
    '"quoted"',
    "$HOME",
    "$$a $(shell echo b) ${c}",
    "#1",
    "a;b",
    "(x)",
    "-x",
    "--help",
    "back\\slash",
    "`id`",
    "a*b",
    "*",
    "a=b, 50%",
    "a&b|c <d>",
    "日本 e\u0301 🎵",
    "a\nb",
    "~",
]


@pytest.fixture
def make(tmp_path: Path):
    """Runs a target with a Python that says its arguments."""
    (tmp_path / "ready").touch()
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    python.chmod(0o755)
    for name in ("one folder", "other"):
        (tmp_path / name).mkdir()

    def run(target: str, environment: dict[str, str] | None = None, **variables: str) -> list[str]:
        set_up = {"BIN": tmp_path, "READY": tmp_path / "ready", "PYTHON": sys.executable, **variables}
        command = ["make", "-s", "-f", str(MAKEFILE), target, *(f"{name}={value}" for name, value in set_up.items())]
        # Newer than what it depends on, so that nothing is set up.
        command += [f"--old-file={tmp_path / 'ready'}"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            command, cwd=tmp_path, env=inherited | (environment or {}), capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("name", NAMES)
def test_a_name_arrives_as_it_was_written(make, name: str) -> None:
    named = {"DATA": name, "OUT": f"{name} 2", "SETTINGS": f"{name}.json"}
    expected = [f"--data={name}", f"--out={name} 2", f"--settings={name}.json"]
    assert make("demo", **named)[-3:] == expected
    assert make("demo", named)[-3:] == expected  # from the environment


def test_what_is_not_given_is_not_passed(make) -> None:
    assert make("demo")[-1] == make("demo", DATA="")[-1] == "tfx_pipeline.demo"
    assert make("serve-smoke")[-1] == "serving.smoke"


def test_the_other_targets(make) -> None:
    assert make("serve-smoke", MODEL_DIR="it's $HOME")[-1] == "it's $HOME"
    assert make("bench", DATA="one folder", OUT="my out")[-4:] == ["--data=one folder", "--seeds", "5", "--out=my out"]
    assert make("bench", DATA="other * other", QUICK="1")[-7:] == [
        "--data",
        "other",
        "*",
        "other",
        "--seeds",
        "5",
        "--quick",
    ]
