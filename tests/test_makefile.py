"""Make passes the user's text on unchanged; an unsupported machine gets one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
LANE = MAKEFILE.parent / "requirements" / "lane.py"
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


def test_options_without_a_value_are_not_passed(make) -> None:
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


#: What a machine and its Python say of themselves, and what `make` says then.
ARM_MAC = {"system": "Darwin", "machine": "arm64", "libc_ver": ("", "")}
MACHINES: dict[str, tuple[dict[str, Any], str]] = {
    "macOS on ARM": (ARM_MAC, "Received: macOS on arm64. Elsewhere use the Dockerfile, or WSL on Windows."),
    "macOS on Intel": (ARM_MAC | {"machine": "x86_64"}, "Received: macOS on x86_64."),
    "Linux on ARM": ({"machine": "aarch64"}, "Received: Linux on aarch64."),
    "Raspberry Pi": ({"machine": "armv7l"}, "Received: Linux on armv7l."),
    "Windows": ({"system": "Windows", "machine": "AMD64", "libc_ver": ("", "")}, "Received: Windows on AMD64."),
    "MSYS": ({"system": "MSYS_NT-10.0-19045", "libc_ver": ("", "")}, "Received: MSYS_NT-10.0-19045 on x86_64."),
    "Alpine": ({"libc_ver": ("", "")}, "Received: Linux without glibc, such as Alpine with musl."),
    "Alpine, newer Python": ({"libc_ver": ("musl", "1.2.5")}, "Received: Linux without glibc"),
    "nothing known": ({"system": "", "machine": "", "libc_ver": ("", "")}, "Received: an unknown system on an unknown"),
    "Python 3.9": ({"version": (3, 9, 2)}, "expected Python 3.11 or 3.10. Received: CPython 3.9.2 ("),
    "Python 3.12 beside an old glibc": (
        {"version": (3, 12, 1)},
        "expected Python 3.11 or 3.10. Received: CPython 3.12.1",
    ),
    "Python 3.14": ({"version": (3, 14, 0), "libc_ver": ("glibc", "2.41")}, "expected Python 3.11 to 3.13. Received"),
}
SUITED: dict[str, list[dict[str, Any]]] = {
    "tfx-1.16": [{}, {"version": (3, 10, 0)}, {"libc_ver": ("glibc", "2.17")}, {"machine": "amd64"}],
    "tfx-1.21": [
        {"libc_ver": ("glibc", "2.39"), "version": (3, 12, 3)},
        {"libc_ver": ("glibc", "2.41"), "version": (3, 13, 5)},
        {"libc_ver": ("glibc", "3.0"), "version": (3, 11, 7)},
    ],
}
_FAKE = """#!{python}
import platform, runpy, sys
shown = {shown!r}
for name in ("system", "machine", "libc_ver"):
    setattr(platform, name, lambda value=shown[name]: value)
platform.python_version = lambda: ".".join(map(str, shown["version"]))
sys.version_info = shown["version"]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def a_machine(folder: Path, **shown: object) -> Path:
    """A Python that says it runs on another machine."""
    usual = {"system": "Linux", "machine": "x86_64", "libc_ver": ("glibc", "2.36"), "version": (3, 11, 7)}
    python = folder / "fake_python"
    python.write_text(_FAKE.format(python=sys.executable, shown=usual | shown))
    python.chmod(0o755)
    return python


def what_make_says(folder: Path, target: str, python: Path | str, path: str | None = None) -> str:
    """The one line with which make ends before any work."""
    command = ["make", "-f", str(MAKEFILE), target, *([f"PYTHON={python}"] if python else [])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | ({"PATH": path} if path else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert not (folder / ".venv").exists()
    return done.stderr


@pytest.mark.parametrize("name", MACHINES)
def test_an_unsupported_machine_gets_one_line(tmp_path: Path, name: str) -> None:
    shown, expected = MACHINES[name]
    line = what_make_says(tmp_path, "demo", a_machine(tmp_path, **shown))
    assert expected in line
    if "version" not in shown:
        assert "*** expected x86-64 Linux with glibc. " in line


@pytest.mark.parametrize("target", ["test", "check", "bench", "shell", "lint", "serve-smoke"])
def test_each_target_that_needs_the_environment_stops(tmp_path: Path, target: str) -> None:
    assert "Received: macOS on arm64." in what_make_says(tmp_path, target, a_machine(tmp_path, **ARM_MAC))


def test_other_targets_need_no_such_machine(tmp_path: Path) -> None:
    command = ["make", "-s", "-f", str(MAKEFILE), "clean", f"PYTHON={a_machine(tmp_path, **ARM_MAC)}"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_a_machine_without_a_python_that_runs(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho Python was not found >&2\nexit 9\n")  # as Windows' own python3 does
    broken.chmod(0o755)
    expected = "expected Python 3.11 (3.10; up to 3.13 beside glibc 2.39) on x86-64 Linux with glibc. Received: "
    assert f"{expected}{broken} that does not run." in what_make_says(tmp_path, "demo", broken)
    assert f"{expected}nothing that does not run." in what_make_says(tmp_path, "demo", "nothing")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("make", "sh"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    assert f"{expected}no python3." in what_make_says(tmp_path, "demo", "", path=str(tools))


def test_requirements_by_machine(tmp_path: Path) -> None:
    for lane, machines in SUITED.items():
        assert (LANE.parent / f"{lane}.txt").is_file()
        for shown in machines:
            command = [a_machine(tmp_path, **shown), LANE]
            assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == lane


def test_a_shell_has_tfx_and_python(tmp_path: Path) -> None:
    """What the user's own file does to PATH comes before, and what make exports to its children is gone."""
    for folder in (".venv/bin", "requirements", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "requirements/shellrc").write_text((LANE.parent / "shellrc").read_text())
    (tmp_path / ".venv/bin/activate").write_text(f'export PATH="{tmp_path}/.venv/bin:$PATH"\n')
    python = tmp_path / ".venv/bin/python"
    python.write_text('#!/bin/sh\necho "ours: $*"\n')
    python.chmod(0o755)
    (tmp_path / "home/.bashrc").write_text(f'mine=kept; export PATH="/other:{os.environ["PATH"]}"; cd /\n')
    (tmp_path / "ready").touch()
    command = ["make", "-s", "-f", str(MAKEFILE), "shell", f"READY={tmp_path / 'ready'}", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        [*command, f"--old-file={tmp_path / 'ready'}"],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path / "home")},
        input="tfx run create --engine local\necho $mine ${MAKELEVEL-unset} ${MAKEFLAGS-unset}\nexit\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "tfx and python are those of .venv here. Leave with: exit",
        "ours: -m tfx_pipeline.tfx_command run create --engine local",
        "kept unset unset",
    ]
