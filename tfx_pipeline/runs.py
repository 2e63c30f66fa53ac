"""The runs of a folder: list and compare them, serve the previous model again, remove old ones.

    python -m tfx_pipeline.runs list RUN                      one line per run: outcome, version, recall
    python -m tfx_pipeline.runs show RUN 2026-11-28           one run: its steps, gates and recall
    python -m tfx_pipeline.runs compare RUN served last       two runs or more, side by side
    python -m tfx_pipeline.runs rollback RUN                  serves the previous model again
    python -m tfx_pipeline.runs prune RUN --keep 7 --dry-run  says what would go; without --dry-run it goes

A run is named by its id or the beginning of it, by the version that it pushed, or as `last` or `served`. Where the
runs are recorded in a database, its password is in the variable BCL_METADATA_PASSWORD_FILE or BCL_METADATA_PASSWORD.

Exit code 0, or 2 with one message where something cannot be done. Nothing has changed then.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Only the changes printed above were made.")  # before the imports below

from serving.savedmodel.publish import latest_version
from tfx_pipeline.history.comparison import LAST, SERVED, as_json, as_table, find_run, in_words
from tfx_pipeline.history.listing import Listing
from tfx_pipeline.history.pruning import plan
from tfx_pipeline.history.rollback import previous_version, roll_back, settle_after
from tfx_pipeline.history.run_details import RunDetails
from tfx_pipeline.runtime.console import write_text
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    arguments = parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    folder = RunFolder.at(arguments.run)
    try:
        if not folder.home.is_dir():
            raise ValueError(f"{arguments.run}: expected the folder of a run. Received: no such folder")
        arguments.command(folder, arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    whole = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    listing = _command(commands, "list", "One line per run, the oldest first.")
    listing.set_defaults(command=_list)
    showing = _command(commands, "show", "One run: its steps, what each gate decided, its recall.")
    showing.set_defaults(command=_show)
    comparing = _command(commands, "compare", "Two runs or more, side by side.")
    comparing.set_defaults(command=_compare)
    back = _command(commands, "rollback", "Serve the previous model again, under a new number.")
    back.set_defaults(command=_roll_back)
    pruning = _command(commands, "prune", "Remove all but the last runs and versions.")
    pruning.add_argument("--keep", type=int, required=True, metavar="N", help="number of runs and versions that stay")
    pruning.set_defaults(command=_prune)
    for command in (listing, showing, comparing, back, pruning):
        command.add_argument("run", type=Path, metavar="RUN", help="folder of the runs, as --out names it")
    showing.add_argument("id", nargs="?", default=LAST, metavar="ID", help="the run (default: %(default)s)")
    comparing.add_argument(
        "ids", nargs="*", default=[SERVED, LAST], metavar="ID", help="the runs (default: served and last)"
    )
    listing.add_argument("--json", action="store_true", help="one JSON object per line in place of the table")
    for command in (showing, comparing):
        command.add_argument("--json", action="store_true", help="one JSON object in place of the table")
    for command in (back, pruning):
        command.add_argument("--dry-run", action="store_true", help="say what would happen, change nothing")
    return whole


def _command(commands: Any, name: str, description: str) -> argparse.ArgumentParser:
    """Adds a command, with the same text in the list of commands and in its own help."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=description, description=description)
    return added


def _list(folder: RunFolder, arguments: argparse.Namespace) -> None:
    listing = Listing.read(folder)
    write_text(listing.as_json() if arguments.json else listing.as_table())


def _show(folder: RunFolder, arguments: argparse.Namespace) -> None:
    listing = Listing.read(folder)
    details = RunDetails.read(folder, listing, find_run(listing, arguments.id))
    write_text(json.dumps(details.as_dict()) + "\n" if arguments.json else in_words(details))


def _compare(folder: RunFolder, arguments: argparse.Namespace) -> None:
    listing = Listing.read(folder)
    runs = [find_run(listing, wanted) for wanted in arguments.ids]
    details = [RunDetails.read(folder, listing, run) for run in runs]
    write_text(as_json(details) if arguments.json else as_table(details))


def _roll_back(folder: RunFolder, arguments: argparse.Namespace) -> None:
    served, _ = latest_version(str(folder.serving))
    if arguments.dry_run:
        source = previous_version(folder.serving, served)
        write_text(f"would serve version {source} in place of {served}, as version {served + 1}\n")
        return
    use_tensorflow()
    with folder.for_this_run("RUN"):
        done = roll_back(folder.serving)
        write_text(f"version {done.source} is served in place of {done.instead_of}, as version {done.published}\n")
        write_text("".join(f"{line}\n" for line in settle_after(done, folder)))


def _prune(folder: RunFolder, arguments: argparse.Namespace) -> None:
    with folder.for_this_run("RUN"):
        found = plan(folder, arguments.keep)
        summary = found.in_words()
        if arguments.dry_run:
            write_text(f"would go: {summary}\n" + "".join(f"  {path}\n" for path in found.folders))
            return
        found.carry_out()
        write_text(f"gone: {summary}\n")


if __name__ == "__main__":
    sys.exit(main())
