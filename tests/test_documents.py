"""What the documents name is there: links, commands with their options, files, and Python that compiles."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.test_help import commands, parser_of, with_commands
from tests.tfx_pipeline.outputs.small_result import SETTINGS, USERS, small_result
from tfx_pipeline.datasets.simulate import simulate
from tfx_pipeline.outputs.publishing import publish

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
#: Modules of other projects that commands in the documents run.
OTHERS = {"http.server", "pip", "pytest", "venv"}
#: Words of a command that stand for what a reader fills in.
EXAMPLES = {"NUMBER": "1", "N": "1", "...": ""}


def heading_ids(text: str) -> set[str]:
    """Returns the anchors that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in heading_ids(linked.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_exist(page: Path) -> None:
    for module in set(re.findall(r"python(?: -W ignore| -u)* -m ([\w.]+)", page.read_text())) - OTHERS:
        assert importlib.util.find_spec(module.rstrip(".")) is not None, module


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert line in targets, line


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_compiles(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        compile(block, str(page), "exec")


def test_every_page_is_reached_from_the_first() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text())
        todo += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) == reached


@pytest.mark.parametrize(("page", "most"), [("README.md", 130), ("BUILD_NOTES.md", 200)])
def test_the_first_pages_stay_short(page: str, most: int) -> None:
    assert len((ROOT / page).read_text().splitlines()) <= most


def test_a_decision_is_short_and_has_three_parts() -> None:
    decisions = set(DOCS.glob("decisions/*.md")) - {DOCS / "decisions" / "index.md"}
    assert decisions
    for page in decisions:
        parts = re.findall(r"^\*\*(\w+)\.\*\* ", page.read_text(), re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequence"], page.name
        assert len(page.read_text().splitlines()) <= 40, page.name


# ---- The site.


def pages_of(nav: object) -> list[str]:
    """Returns the pages that a part of the navigation names."""
    if isinstance(nav, str):
        return [nav]
    assert isinstance(nav, (dict, list))
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages_of(part)]


def test_every_page_of_docs_stands_once_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(pages_of(nav)) == sorted(str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md"))


def build_site(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(site),
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    site = tmp_path_factory.mktemp("documents") / "site"
    done = build_site(ROOT / "mkdocs.yml", site)
    assert done.returncode == 0, done.stderr
    return site


def test_the_site_asks_nobody(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("**/*.md")))  # and a page for what is not found
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)|<link[^>]* href=\"?([^\" >]+)", page.read_text()
        )
        assert not [address for both in loaded for address in both if "//" in address], page


def exported(module: str) -> list[str]:
    """Returns the names in `__all__` of a package, with the package's name before them."""
    tree = ast.parse((ROOT / module.replace(".", "/") / "__init__.py").read_text())
    (names,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    )
    return [f"{module}.{name}" for name in ast.literal_eval(names)]


def test_the_python_api_has_every_public_name(site: Path) -> None:
    page = (site / "reference" / "python-api.html").read_text()
    packages = ("bcl_keras.layers", "bcl_keras.models", "bcl_keras.ops", "serving.client")
    names = [name for package in packages for name in exported(package)]
    assert "bcl_keras.models.BCLModel" in names
    assert not [name for name in names if f'id="{name}"' not in page]


def test_a_broken_link_stops_the_site(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[nowhere](nowhere.md)\n")
    config |= {"docs_dir": str(tmp_path / "docs"), "nav": ["index.md"]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    done = build_site(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0 and "nowhere.md" in done.stderr


# ---- Commands.


@functools.cache
def parser(command: str) -> argparse.ArgumentParser:
    with pytest.MonkeyPatch.context() as patch:
        return parser_of(command, patch)


def options_of(command: str) -> set[str]:
    """Returns the long options and the places of a command and of its subcommands."""
    names = set()
    for below in with_commands(parser(command)):
        for action in below._actions:
            if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
                names |= {name for name in action.option_strings if name.startswith("--")}
    return names


@pytest.mark.parametrize("command", commands())
def test_the_page_of_commands_names_every_option(command: str) -> None:
    name = command.removesuffix(".__main__")
    page = (DOCS / "reference" / "commands.md").read_text()
    section = re.search(rf"^### python -m {re.escape(name)}$(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    row = re.search(rf"^\| `python -m {re.escape(name)}` \|(.*)$", page, re.MULTILINE)
    found = section or row
    assert found, f"{name} is not on the page"
    assert set(re.findall(r"`(--[\w-]+)`", found.group(1))) == options_of(command)


def test_the_page_of_commands_names_every_target_of_make() -> None:
    page = (DOCS / "reference" / "commands.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", page, re.MULTILINE)) == targets


def shown_commands(page: Path) -> list[tuple[str, list[str]]]:
    """Returns the commands of ours that a page shows in blocks of code: the module, and its words."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(r"^(?: {4}|)(?:\.venv/bin/)?python(?: -W ignore)? -m ([\w.]+)(.*)$", text, re.MULTILINE)
    found = []
    for module, rest in lines:
        words = shlex.split(rest, comments=True)
        found.append((module, words[: words.index("|")] if "|" in words else words))
    return found


SHOWN = [(name, *each) for page, name in zip(PAGES, NAMES, strict=True) for each in shown_commands(page)]


@pytest.mark.parametrize(("page", "module", "words"), SHOWN, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(SHOWN)])
def test_shown_commands_parse(page: str, module: str, words: list[str]) -> None:
    names = {name.removesuffix(".__main__"): name for name in commands()}
    if module in OTHERS or module not in names or "--help" in words:
        return
    given = [EXAMPLES.get(word, word) for word in words]
    try:
        parser(names[module]).parse_known_args(given)
    except SystemExit:
        pytest.fail(f"{page}: python -m {module} {shlex.join(given)}")


# ---- The map of the rooms.


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_the_map_has_every_room(page: str) -> None:
    text = (ROOT / page).read_text()
    rooms = [
        init.parent.name
        for package in ("bcl_keras", "serving", "tfx_pipeline")
        for init in (ROOT / package).glob("*/__init__.py")
    ]
    rooms += [
        init.parent.name
        for package in ("serving/server", "tfx_pipeline/targeting")
        for init in (ROOT / package).glob("*/__init__.py")
    ]
    assert rooms
    assert not [room for room in rooms if not re.search(rf"`{room}/?`", text)]


def test_where_to_change_what_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where to change what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| (.*) \|$", text, re.MULTILINE)[2:]
    assert len(rows) >= 6
    for row in rows:
        for name, path in re.findall(r"(?:`(\w+)` in )?`([\w./]+/[\w./]*)`", row):
            assert (ROOT / path).exists(), path
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text()) if name else True, (name, path)


# ---- README, as it stands. `tests/serving/test_readme.py` has the lines that serve and ask.


def run_line(start: str, here: Path, **words: str) -> str:
    """Runs README's line with that beginning in a folder, the words filled in; returns what it prints."""
    (line,) = re.findall(rf"^ {{4}}\.venv/bin/python -m ({re.escape(start)}.*)$", README, re.MULTILINE)
    for word, value in words.items():
        line = re.sub(rf"\b{word}\b", value, line)
    command = f"{shlex.quote(sys.executable)} -m {line}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(["sh", "-c", command], check=True, cwd=here, env=environment, capture_output=True, text=True)
    return done.stdout


def test_the_line_that_checks_a_folder(tmp_path: Path) -> None:
    simulate(tmp_path / "FOLDER", songs=200, users=100, plays=6000, seed=1)
    assert "200 songs" in run_line("tfx_pipeline.contract FOLDER", tmp_path)


def test_the_line_that_asks_about_a_song(tmp_path: Path) -> None:
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    (tmp_path / "RUN").symlink_to(folder.home)
    printed = run_line("tfx_pipeline.ask RUN", tmp_path, ID="n1")
    assert USERS[0] in printed


@pytest.mark.slow
def test_the_notebook_of_the_readme_runs() -> None:
    """The lines as they stand, on twelve songs of two kinds whose audiences never meet."""
    (lines,) = re.findall(r"^```python\n(import bcl_keras\n.*?)^```", README, re.MULTILINE | re.DOTALL)
    kind = np.arange(12) % 2
    anchors, positives = np.nonzero((kind[:, None] == kind) & ~np.eye(12, dtype=bool))
    given = {
        "artist": 1 + kind,
        "tags": np.stack([1 + kind, 3 + kind], axis=1),
        "tempo": kind.astype("float32"),
        "new_artist": np.array([1, 2]),
        "new_tags": np.array([[1, 3], [2, 4]]),
        "new_tempo": np.array([0.0, 1.0], "float32"),
        "anchor_rows": anchors,
        "positive_rows": positives,
        "similarities": np.ones(len(anchors), "float32"),
    }
    exec(textwrap.dedent(lines), given)
    embeddings = np.asarray(given["embeddings"])
    catalogue = given["model"].embed_songs()
    nearest = np.argsort(-embeddings @ np.asarray(catalogue).T, axis=1)[:, :6]
    assert [set(kind[row]) for row in nearest] == [{0}, {1}]
