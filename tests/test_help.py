"""`--help` of every command says what the command does, and of every option what it is, with default and unit."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What TFX or its users start, with variables of the environment or TFX's own arguments in place of options.
WITHOUT_OPTIONS = {"tfx_pipeline.local_runner", "tfx_pipeline.refresh_runner", "tfx_pipeline.tfx_command"}
UNITS = {r"time|seconds": "second", r"bytes": "bytes", r"memory": "memory", r"share": "share|from 0 to 1"}
LEAST_WORDS = 3


def commands() -> list[str]:
    """Every module of the tree that can be run."""
    files = [file for folder in ("benchmarks", "serving", "tfx_pipeline") for file in (ROOT / folder).rglob("*.py")]
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if re.search(r'^if __name__ == "__main__":', file.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    return sorted(set(names) - WITHOUT_OPTIONS)


class Found(BaseException):
    """A command has come to read its arguments. No command catches it."""


def parser_of(command: str, monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser with which a command reads its arguments, before it does anything else."""

    def found(parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        raise Found(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", found)
    main = importlib.import_module(command).main
    with pytest.raises(Found) as caught:
        main(*[[] for _ in inspect.signature(main).parameters])
    parser: argparse.ArgumentParser = caught.value.args[0]
    return parser


def with_commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from with_commands(below)


def lacks(parser: argparse.ArgumentParser) -> list[str]:
    """What a parser does not say, in words."""
    found = [] if len((parser.description or "").split()) >= LEAST_WORDS else [f"{parser.prog}: no description"]
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        name = f"{parser.prog} {'/'.join(action.option_strings) or action.dest}"
        text = parser._get_formatter()._expand_help(action) if action.help else ""
        if len(text.split()) < LEAST_WORDS:
            found.append(f"{name}: no help")
        takes_value = bool(action.option_strings) and action.nargs != 0 and not action.required
        if takes_value and "default" not in text:
            found.append(f"{name}: no default")
        if takes_value and not _says_default(action.default, text):
            found.append(f"{name}: another default than {action.default!r}")
        for of_name, unit in UNITS.items():
            if takes_value and _is_number(action) and re.search(of_name, action.dest) and not re.search(unit, text):
                found.append(f"{name}: no unit")
    return found


def _says_default(default: object, text: str) -> bool:
    if isinstance(default, (list, tuple)):
        return all(str(value) in text for value in default)
    return default is None or isinstance(default, bool) or str(default) in text


def _is_number(action: argparse.Action) -> bool:
    return action.type in (int, float)


@pytest.mark.parametrize("command", commands())
def test_help_describes_every_option(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = parser_of(command, monkeypatch)
    missing = [lack for below in with_commands(parser) for lack in lacks(below)]
    assert not missing, "\n".join(missing)
    assert all(below.format_help() for below in with_commands(parser))  # a stray % would raise


def installed_commands() -> list[str]:
    return [command.removesuffix(".__main__") for command in commands() if not command.startswith("benchmarks.")]


@pytest.mark.slow
@pytest.mark.parametrize("command", installed_commands())
def test_help_is_all_that_is_printed(command: str) -> None:
    """No warning of a library reaches the terminal, whatever a command imports before it reads its arguments."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, "-m", command, "--help"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("usage: ")


def test_commands_are_found() -> None:
    found = commands()
    assert {"tfx_pipeline.demo", "tfx_pipeline.contract.__main__", "serving.client.__main__"} <= set(found)
    assert {"benchmarks.quality.__main__", "tfx_pipeline.datasets.simulate"} <= set(found)


def test_a_missing_description_is_found() -> None:
    parser = argparse.ArgumentParser(prog="p")
    parser.add_argument("place")
    parser.add_argument("--songs", type=int, default=5, help="number of songs (default: 6)")
    parser.add_argument("--time-limit", type=float, help="how long it may take (default: none)")
    parser.add_argument("--name", help="what it is called")
    parser.add_argument("--good", type=int, default=7, help="number of songs (default: %(default)s)")
    parser.add_argument("--flag", action="store_true", help="do it")
    below = parser.add_subparsers().add_parser("below", help="something")
    assert [lack for each in with_commands(parser) for lack in lacks(each)] == [
        "p: no description",
        "p place: no help",
        "p --songs: another default than 5",
        "p --time-limit: no unit",
        "p --name: no default",
        "p --flag: no help",
        f"{below.prog}: no description",
    ]
