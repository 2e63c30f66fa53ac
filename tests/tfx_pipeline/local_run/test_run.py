"""The run for schedulers: exit codes, the line at its end, and the commands of the guide."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from serving.files.folder_lock import only_process_in
from tests.tfx_pipeline.history.recorded_nights import Nights
from tfx_pipeline import refresh, run, runs
from tfx_pipeline.datasets.simulate import simulate
from tfx_pipeline.reports.run_outcome import EXIT_CODES, of_data_gate, of_stopped
from tfx_pipeline.runtime.run_folder import RunFolder

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "run-every-night.md"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night") / "data"
    simulate(folder, songs=200, users=100, plays=6000, seed=1)
    return folder


def called(*arguments: object) -> tuple[int, dict[str, Any], str]:
    """Runs the command as a process; returns exit code, the line on standard output, and standard error."""
    command = [sys.executable, "-m", "tfx_pipeline.run", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = done.stdout.splitlines()
    return done.returncode, json.loads(line), done.stderr


def test_bad_input_is_one_line_of_json_and_one_message(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, line, shown = called("--data", tmp_path / "empty", "--out", tmp_path / "out", "--keep", "2")
    assert code == 2 and line["outcome"] == "bad input" and "songs.parquet" in shown and shown.count("\n") == 1
    assert line["reasons"] == [shown.rstrip("\n")]
    assert (line["run_id"], line["model_version"], line["served_version"]) == (None, None, None)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_checks_and_lists_what_would_go(data: Path, tmp_path: Path) -> None:
    nights = Nights(RunFolder.at(tmp_path / "out"))
    first, second = nights.add("pushed"), nights.add("pushed")
    before = sorted(tmp_path.rglob("*"))
    code, line, shown = called("--data", data, "--out", tmp_path / "out", "--keep", "1", "--dry-run")
    assert code == 0 and line["outcome"] == "checked" and line["served_version"] == second
    assert line["pruned"]["versions"] == [first] and line["pruned"]["dry_run"] is True
    assert "Catalogue: 200 songs" in shown and "would go: runs: 1, versions: 1" in shown
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--keep", "0"], "--keep: expected at least 1. Received: 0"),
        (["--time-budget", "0"], "--time-budget: expected seconds above 0. Received: 0"),
        (["--time-budget", "nan"], "--time-budget: expected seconds above 0. Received: nan"),
        (["--settings", "/nowhere.json"], "expected a JSON file. Received: No such file or directory"),
        (["--window", "0"], "--window: expected at least 1. Received: 0"),
    ],
)
def test_bad_options(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], shown: str
) -> None:
    assert run.main(["--data", str(data), "--out", str(tmp_path / "out"), *options]) == 2
    told = capsys.readouterr()
    assert shown in told.err and json.loads(told.out)["outcome"] == "bad input"
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with only_process_in(tmp_path / "out"):
        (tmp_path / "out" / "kept").touch()
        assert run.main(["--data", str(data), "--out", str(tmp_path / "out"), "--keep", "1"]) == 2
    (reason,) = json.loads(capsys.readouterr().out)["reasons"]
    assert "expected a folder that no other run uses" in reason


def test_exit_codes() -> None:
    assert EXIT_CODES == {"pushed": 0, "unchanged": 0, "checked": 0, "failed": 1, "bad input": 2, "refused": 3}


def test_a_stop_by_the_data_gate_ends_with_3(tmp_path: Path) -> None:
    nights = Nights(RunFolder.at(tmp_path))
    served = nights.add("pushed")
    nights.add("stopped")
    error = ValueError("The data differs (delete x):\nstops the run: plays, column `a`: gone\nnoted: songs, column `b`")
    outcome = of_data_gate(nights.folder, error)
    assert outcome.exit_code == 3 and outcome.reasons == ("stops the run: plays, column `a`: gone",)
    line = json.loads(outcome.line(nights.folder, 1.25, None))
    assert (line["run_id"], line["served_version"], line["seconds"]) == (nights.names[1], served, 1.2)
    assert of_stopped(nights.folder, "x", 1).exit_code == 1 and of_stopped(nights.folder, "x", 2).exit_code == 2


def test_the_time_budget_ends_a_run_between_components(tmp_path: Path) -> None:
    from tests.tfx_pipeline.local_run.one_step import run_one_step
    from tfx_pipeline.tfx_extensions.progress import OutOfTimeError, component_lines

    lines: list[str] = []
    message = r"used up before First\. The next run goes on from there\."
    with pytest.raises(OutOfTimeError, match=message), component_lines(lines.append, until=time.monotonic()):
        run_one_step(tmp_path)
    assert not lines and not (tmp_path / "ran").exists()
    with component_lines(lines.append, until=time.monotonic() + 3600):
        run_one_step(tmp_path)
    assert [line.split()[0] for line in lines] == ["First"] and (tmp_path / "ran").exists()


def test_lines_meant_for_standard_error_stay_there(tmp_path: Path) -> None:
    script = """
        import os, sys
        from pathlib import Path
        from tfx_pipeline.runtime.console import Console
        console = Console(sys.stderr)
        with console.output_to_log(Path(sys.argv[1])):
            console.say("shown")
            os.write(1, b"noise")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run([*command, str(tmp_path / "log")], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, (tmp_path / "log").read_text()) == ("", "shown\n", "noise")


def commands() -> list[str]:
    """The commands of the guide, wherever they stand in a line."""
    return re.findall(r"python -m (tfx_pipeline\.[^\"|>\n`]*[^\s\"|>`])", GUIDE.read_text(encoding="utf-8"))


def test_the_guide_has_each_command() -> None:
    assert {command.split()[0] for command in commands()} == {f"tfx_pipeline.{n}" for n in ("run", "runs", "refresh")}
    assert {command.split()[1] for command in commands() if ".runs " in command} == {
        "list",
        "show",
        "compare",
        "rollback",
        "prune",
    }


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_guide_parse(command: str) -> None:
    module, *words = shlex.split(re.sub(r" 2$", "", command))
    parsers = {"run": run.parser, "runs": runs.parser, "refresh": refresh._parser}
    parsed = parsers[module.partition(".")[2]]().parse_args(words)
    assert isinstance(parsed, argparse.Namespace)


def test_the_guide_names_settings_that_exist() -> None:
    from dataclasses import fields

    from tfx_pipeline.evaluation.config import EvaluationConfig
    from tfx_pipeline.gates.data_drift import DataGateConfig

    sections = {"data_gate": DataGateConfig, "evaluation": EvaluationConfig}
    named = re.findall(r"`(data_gate|evaluation)\.(\w+)`", GUIDE.read_text(encoding="utf-8"))
    assert len(named) >= 3
    for section, name in named:
        assert name in {field.name for field in fields(sections[section])}
