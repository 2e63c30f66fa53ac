"""One run for a scheduler, as every night: `python -m tfx_pipeline.run --data DIR --out RUN`.

Standard output has one line at the end, a JSON object: run_id, outcome, model_version, served_version, recall, reasons,
seconds, pruned, paths. All else goes to standard error.

Exit code 0: a model was pushed, or nothing had changed. 3: a gate refused the data or the model; the model before is
still served. 2: the input, a setting or an option is wrong, or the disk is full. 1: something failed, or the time was
used up; the next run goes on from there. 130 and 143: stopped by SIGINT or SIGTERM, without a line on standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals()  # before the imports below, which take a second

from tfx_pipeline.history.run_records import use_database
from tfx_pipeline.local_run.night import check_only, prune, run_night
from tfx_pipeline.local_run.request import Request, add_options, path, place
from tfx_pipeline.reports.run_outcome import of_stopped
from tfx_pipeline.runtime.console import Console
from tfx_pipeline.runtime.engine import add_engine_options, use_engine
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
        use_engine(arguments)
        use_database(arguments.metadata)
        request = Request.of(arguments)
        # These raise before any work if the settings file cannot be used.
        request.training_needs(), request.columns(), request.check_config()
        until = None if arguments.time_budget is None else began + arguments.time_budget
        with folder.for_this_run("OUT", request.data):
            if arguments.dry_run:
                outcome = check_only(request, folder, console)
            else:
                outcome = run_night(request, folder, console, until=until)
            if arguments.keep is not None:
                pruned = prune(folder, arguments.keep, console, dry_run=arguments.dry_run)
    except (ValueError, OSError) as error:  # of the folders, the contract or the settings
        outcome = of_stopped(folder, str(error), _BAD_INPUT)
    if outcome.exit_code:  # else the run has printed its reasons
        for reason in outcome.reasons:
            console.say(reason)
    sys.stdout.write(outcome.line(folder, time.monotonic() - began, pruned))
    return outcome.exit_code


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=place, required=True, help="folder with songs and plays, or its URI")
    parser.add_argument("--out", type=path, required=True, help="folder for all that is written, the same every night")
    add_options(parser)
    add_engine_options(parser)
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


if __name__ == "__main__":
    sys.exit(main())
