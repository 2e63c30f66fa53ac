"""The clients of docs/clients, built outside the tree, and what they print."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from serving.protocol.bundle import write_bundle

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "docs" / "clients"
#: Seconds for a tool that loads packages. A registry that does not answer must not hold the tests.
_PATIENCE = 900
_UNRESOLVED = ("Could not resolve", "Could not transfer", "could not be resolved", "Unresolveable", "Unknown host")


def _need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs the command {tool}")


def _run(command: Sequence[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} {command[1]} did not end in {_PATIENCE} s")


def _load(command: Sequence[str], folder: Path, **settings: str) -> None:
    """Runs a command that only loads packages. Without the registry there is nothing to test."""
    done = _run(command, folder, **settings)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command[:3])} could not load its packages: {(done.stderr or done.stdout)[-300:]}")


def _build(command: Sequence[str], folder: Path, **settings: str) -> None:
    done = _run(command, folder, **settings)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _curl(folder: Path) -> list[str]:
    _need("bash", "curl")
    return ["bash", str(folder / "ask.sh"), "match"]


def _python(folder: Path) -> list[str]:
    return [sys.executable, "-W", "ignore", str(folder / "match.py")]


def _node(folder: Path) -> list[str]:
    _need("node", "npm")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    _load(["npm", "install", *options], folder)
    return ["node", str(folder / "match.js")]


def _go(folder: Path) -> list[str]:
    _need("go")
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("needs grpcio-tools")
    local = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOBIN": str(folder / "bin")}
    _load(["go", "mod", "download"], folder, **local)
    _build(["go", "install", "tool"], folder, **local)
    path = {"PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])}
    _build([sys.executable, "-m", "grpc_tools.protoc", *go_options(folder)], folder, **path)
    _build(["go", "vet", "."], folder, **local)
    _build(["go", "build", "-o", "bin/match", "."], folder, **local)
    return [str(folder / "bin" / "match")]


def go_options(folder: Path) -> list[str]:
    """Returns what protoc is told on the page of clients, after its name."""
    page = (ROOT / "docs" / "how-to" / "clients.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.replace("\\\n", " ").splitlines() if "--go_out" in line)
    return line.replace("PROTOS", str(folder.parent / "protos")).split()[3:]


def _java(folder: Path) -> list[str]:
    _need("java", "mvn")
    goals = ["compile", "dependency:copy-dependencies"]
    done = _run(["mvn", "-B", "-ntp", f"-Dprotos={folder.parent / 'protos'}", *goals], folder)
    if done.returncode != 0 and any(text in done.stdout for text in _UNRESOLVED):
        pytest.skip(f"mvn could not load its packages: {done.stdout[-300:]}")
    assert done.returncode == 0, done.stdout[-3000:]
    return ["java", "-cp", f"{folder / 'target' / 'classes'}:{folder / 'target' / 'dependency'}/*", "Match"]


BUILDS: dict[str, Callable[[Path], list[str]]] = {
    "curl": _curl,
    "python": _python,
    "node": _node,
    "go": _go,
    "java": _java,
}


class Program:
    """A client, ready to run.

    Args:
        language: The name of its folder.
        folder: An empty folder.
    """

    def __init__(self, language: str, folder: Path) -> None:
        self.language = language
        self._protos = folder / "protos"
        write_bundle(self._protos)
        shutil.copytree(SOURCES / language, folder / language)
        self._command = BUILDS[language](folder / language)
        self._songs = folder / "songs.json"

    def ask(self, songs: Any, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Runs it for songs. `settings` are the variables of the environment that the page lists."""
        self._songs.write_text(json.dumps(songs), encoding="utf-8")
        python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": python_path, "BCL_PROTOS": str(self._protos)} | settings
        return subprocess.run(
            [*self._command, str(self._songs)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )

    def rows(self, printed: str) -> list[dict[str, Any]]:
        """Returns ids and scores of each song from what it printed."""
        if self.language != "curl":
            # Not splitlines: it splits at U+2028, too.
            return [json.loads(line) for line in printed.split("\n") if line]
        return [_without_blanks(row) for row in json.loads(printed)["predictions"]]


def _without_blanks(row: dict[str, Any]) -> dict[str, Any]:
    found = [pair for pair in zip(row["song_ids"], row["scores"], strict=True) if pair[0] not in ("", -1)]
    return {"song_ids": [str(one) for one, _ in found], "scores": [score for _, score in found]}
