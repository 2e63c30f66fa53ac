"""One run for a scheduler, as every night: `python -m tfx_pipeline.run --data DIR --out RUN`.

Standard output has one line at the end, a JSON object: run_id, outcome, model_version, served_version, recall, reasons,
seconds, pruned, paths. All else is said on standard error.

Exit code 0: a model was pushed, or nothing had changed. 3: a gate refused the data or the model; the one before is
served still. 2: the input, a setting or an option is wrong, or the disk is full. 1: something failed, or the time was
used up; the next run goes on from there. 130 and 143: stopped by SIGINT or SIGTERM, without a line on standard output.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.runtime.stopping import heed_signals

if __name__ == "__main__":
    heed_signals()  # before the imports below, which take a second

from tfx_pipeline import contract
from tfx_pipeline.one_run import Request, add_options, check_input, describe, path, read_config, run_pipeline
from tfx_pipeline.reports.run_outcome import Outcome, of_data_gate, of_finished, of_stopped
from tfx_pipeline.runtime.console import Console, StoppedError, stops_in_words
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder

_BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the pipeline once; returns the exit code."""
    began = time.monotonic()
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder, console = RunFolder.at(arguments.out), Console(sys.stderr)
    pruned: dict[str, Any] | None = None
    try:
        _check_numbers(arguments)
        request = Request.of(arguments)
        request.training_needs()  # says at once that they cannot be used
        with folder.for_this_run("OUT", request.data):
            if arguments.dry_run:
                outcome = _check_only(request, folder, console)
            else:
                outcome = _run(request, folder, console, began, arguments.time_budget)
            if arguments.keep is not None:
                pruned = _prune(folder, arguments.keep, console, dry_run=arguments.dry_run)
    except (ValueError, OSError) as error:  # of the folders, the contract or the settings
        outcome = of_stopped(folder, str(error), _BAD_INPUT)
    if outcome.exit_code:  # else the run has said it
        for reason in outcome.reasons:
            console.say(reason)
    sys.stdout.write(outcome.line(folder, time.monotonic() - began, pruned))
    return outcome.exit_code


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=path, required=True, help="folder with songs and plays")
    parser.add_argument("--out", type=path, required=True, help="folder for all that is written, the same every night")
    add_options(parser)
    parser.add_argument(
        "--keep", type=int, metavar="N", help="number of runs and versions that stay afterwards (default: all)"
    )
    parser.add_argument(
        "--time-budget",
        type=float,
        metavar="SECONDS",
        help="seconds after which no step of the run starts (default: no end)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check the data and say what --keep would remove; run and change nothing"
    )
    return parser


def _check_numbers(arguments: argparse.Namespace) -> None:
    for option in ("keep", "window"):
        if (given := getattr(arguments, option)) is not None and given < 1:
            raise ValueError(f"--{option}: expected at least 1. Received: {given}")
    if arguments.time_budget is not None and not arguments.time_budget > 0:
        raise ValueError(f"--time-budget: expected seconds above 0. Received: {arguments.time_budget:g}")


def _run(request: Request, folder: RunFolder, console: Console, began: float, budget: float | None) -> Outcome:
    use_tensorflow()
    catalogue = check_input(request, folder, console)
    config = read_config(request, folder, console)
    try:
        with console.chatter_to(folder.log), stops_in_words(folder.log):
            from tfx_pipeline.gates.data_drift import DataGateError

            try:
                run_pipeline(folder, catalogue, config, console, until=None if budget is None else began + budget)
            except DataGateError as error:
                return of_data_gate(folder, error)
            return of_finished(folder)
    except StoppedError as error:
        return of_stopped(folder, str(error), error.exit_code)


def _check_only(request: Request, folder: RunFolder, console: Console) -> Outcome:
    """Checks the data as a run would, in a folder of its own that goes again."""
    aside = folder.home / ".dry_run"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        training = request.training_needs()
        catalogue = contract.prepare(request.data, aside / "input", window=request.window, training=training)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    console.say(describe(catalogue))
    return Outcome("checked")


def _prune(folder: RunFolder, keep: int, console: Console, *, dry_run: bool) -> dict[str, Any] | None:
    """Prunes, whatever came of the run: nights that fail take room, too. If that fails, the run's outcome stands."""
    from tfx_pipeline.history.pruning import plan

    try:
        found = plan(folder, keep)
        said = {
            "runs": list(found.runs),
            "versions": [str(number) for number in found.versions],
            "folders": len(found.folders),
            "bytes": found.size(),
            "dry_run": dry_run,
        }
        console.say(f"--keep {keep}, {'would go' if dry_run else 'gone'}: {found.in_words()}")
        if not dry_run:
            found.carry_out()
    except (ValueError, OSError, RuntimeError) as error:
        console.say(f"--keep {keep}: not all that should go is gone. {error}")
        return None
    return said


if __name__ == "__main__":
    sys.exit(main())
