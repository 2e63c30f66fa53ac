"""Imports between packages and rooms go one way, and each room states what it imports and what imports it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("bcl_keras", "serving", "tfx_pipeline")
#: What rooms of the pipeline call the modules at its top level.
ENTRANCES = "the entrances"
NOTHING = "nothing of this project"


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def rooms() -> list[str]:
    """The packages inside `bcl_keras`, `serving` and `tfx_pipeline`, and those inside `serving.server`."""
    patterns = (*(f"{package}/*" for package in PACKAGES), "serving/server/*")
    folders = [folder for pattern in patterns for folder in ROOT.glob(pattern)]
    return sorted(".".join(path.relative_to(ROOT).parts) for path in folders if (path / "__init__.py").is_file())


def docstring(room: str) -> str:
    source = ROOT.joinpath(*room.split("."), "__init__.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def name_of(module: str, seen_from: str) -> str:
    """What a room calls another module: by its room, and by no more of its path than it takes."""
    own, *rest = module.split(".")
    package, *parents = seen_from.split(".")[:-1]
    if own == package:
        inside = rest[len(parents) :] if rest[: len(parents)] == parents else rest
        if own == "tfx_pipeline" and inside and not (ROOT / own / inside[0]).is_dir():
            return ENTRANCES
        return inside[0] if inside else own
    if own == "serving" and rest:
        return f"serving.{rest[0]}"
    return own


def neighbours(room: str) -> tuple[set[str], set[str]]:
    """Names of what a room imports, and of what imports it."""
    graph = import_graph()
    inside = {room, *graph.find_descendants(room)}
    imported = {found for module in inside for found in graph.find_modules_directly_imported_by(module)}
    importing = {found for module in inside for found in graph.find_modules_that_directly_import(module)}
    imports, importers = ({name_of(found, room) for found in both - inside} for both in (imported, importing))
    return imports, importers


def stated(room: str, what: str) -> set[str]:
    """The names after `Imports:` or `Imported by:` in a room's docstring."""
    found = re.search(rf"^{what}: (.+?)\.$", docstring(room), re.MULTILINE | re.DOTALL)
    assert found, f"{room}: expected a line `{what}: ...` in the docstring of its __init__. Received: none"
    names = set(re.split(r",\s+", found[1].replace("\n", " ")))
    return set() if names == {NOTHING} else names


def test_imports_go_one_way() -> None:
    # A process of its own: the linter disables all loggers of the process in which it runs.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_what_it_is_for(room: str) -> None:
    first = docstring(room).partition("\n")[0]
    assert len(first.split()) >= 4
    assert first.endswith(".")


@pytest.mark.parametrize("room", rooms())
def test_a_room_says_what_it_imports_and_what_imports_it(room: str) -> None:
    imports, importers = neighbours(room)
    for what, names in (("Imports", imports), ("Imported by", importers)):
        line = f"{what}: {', '.join(sorted(names)) or NOTHING}."
        assert stated(room, what) == names, f"{room}: expected in the docstring of its __init__: {line}"


def test_all_rooms_are_found() -> None:
    assert {"bcl_keras.losses", "serving.files", "serving.server.rest", "tfx_pipeline.contract"} <= set(rooms())


def test_a_room_is_known_by_its_name() -> None:
    assert name_of("tfx_pipeline.contract.csv.file", "tfx_pipeline.labels") == "contract"
    assert name_of("tfx_pipeline.run", "tfx_pipeline.reports") == ENTRANCES
    assert name_of("serving.server.rest.songs", "tfx_pipeline.gates") == "serving.server"
    assert name_of("serving.server.models.core", "serving.server.rest") == "models"
    assert name_of("serving.savedmodel.session", "serving.server.rest") == "savedmodel"
    assert name_of("tfx_pipeline.models.trainer", "serving.export") == "tfx_pipeline"
