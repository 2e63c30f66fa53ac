"""The runs of a folder: what each did, back to the model before, and what may go.

    python -m tfx_pipeline.runs list RUN                      one line per run: outcome, version, recall
    python -m tfx_pipeline.runs rollback RUN                  serves the previous model again
    python -m tfx_pipeline.runs prune RUN --keep 7 --dry-run  says what would go; without --dry-run it goes

Exit code 0, or 2 with one message where something cannot be done; nothing has changed then.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("What was not said to be done was not done.")  # before the imports below

from serving.savedmodel.publish import PublishError, latest_version
from tfx_pipeline.history.gate_memory import go_back_to
from tfx_pipeline.history.pruning import plan, published_version
from tfx_pipeline.history.rollback import previous_version, roll_back
from tfx_pipeline.history.run_history import RecordedRun, open_store, pushes, read_runs
from tfx_pipeline.history.served_copies import origin_of, pushed_as, served_again_by
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
    back = _command(commands, "rollback", "Serve the previous model again, under a new number.")
    back.set_defaults(command=_roll_back)
    pruning = _command(commands, "prune", "Remove all but the last runs and versions.")
    pruning.add_argument("--keep", type=int, required=True, metavar="N", help="number of runs and versions that stay")
    pruning.set_defaults(command=_prune)
    for command in (listing, back, pruning):
        command.add_argument("run", type=Path, metavar="RUN", help="folder of the runs, as --out names it")
    listing.add_argument("--json", action="store_true", help="one JSON object per line in place of the table")
    for command in (back, pruning):
        command.add_argument("--dry-run", action="store_true", help="say what would happen, change nothing")
    return whole


def _command(commands: Any, name: str, said: str) -> argparse.ArgumentParser:
    """Adds a command; --help says the same in the list of commands and of the command alone."""
    added: argparse.ArgumentParser = commands.add_parser(name, help=said, description=said)
    return added


def _list(folder: RunFolder, arguments: argparse.Namespace) -> None:
    runs = read_runs(open_store(folder.metadata, read_only=True))
    again = served_again_by(folder.serving)
    shown = [
        replace(run, outcome="pushed", version=str(again[run.run_id])) if run.run_id in again else run for run in runs
    ]
    served = _served(folder)
    of_served = _run_of(shown, folder, served)
    if arguments.json:
        for run in shown:
            write_text(json.dumps(_as_dict(run, run.run_id == of_served)) + "\n")
        return
    write_text(f"{'run':<28}{'outcome':<11}{'version':<21}recall\n")
    for run in shown:
        recall = "" if run.recall is None else f"{run.recall[1]:.3f} ({run.recall[0]})"
        version = run.version + (" *" if run.run_id == of_served else "")
        write_text(f"{run.run_id:<28}{run.outcome:<11}{version:<21}{recall}".rstrip() + "\n")
    if served is None:
        write_text("No model is served.\n")
        return
    origin = origin_of(folder.serving, served)
    write_text(f"Served: version {served}" + (f", a copy of {origin}" if served != origin else "") + "\n")


def _as_dict(run: RecordedRun, is_served: bool) -> dict[str, object]:
    recall = None if run.recall is None else {run.recall[0]: run.recall[1]}
    return {
        "run_id": run.run_id,
        "outcome": run.outcome,
        "model_version": run.version or None,
        "recall": recall,
        "served": is_served,
    }


def _run_of(shown: list[RecordedRun], folder: RunFolder, served: int | None) -> str | None:
    """Returns the run that pushed the version that is served, or the one that it is a copy or a refresh of."""
    if served is None:
        return None
    push = pushed_as(folder.serving, served, pushes(shown))
    pushers = [run.run_id for run in shown if run.outcome != "unchanged" and run.version == str(push)]
    return pushers[0] if pushers else None


def _served(folder: RunFolder) -> int | None:
    with suppress(PublishError):
        return latest_version(str(folder.serving))[0]
    return None


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
        pushed = pushes(read_runs(open_store(folder.metadata, read_only=True))) if folder.metadata.exists() else ()
        origin = pushed_as(folder.serving, done.published, pushed) or done.source
        for line in go_back_to(folder, origin):
            write_text(f"note: {line}\n")
        _point_latest(folder, origin)


def _point_latest(folder: RunFolder, version: int) -> None:
    """Makes RUN/latest lead to what the run published that pushed `version`, where runs publish and it is kept."""
    latest = folder.home / "latest"
    published = [path for path in (folder.home / "history").glob("[!.]*") if published_version(path) == str(version)]
    if not (latest.is_symlink() and published):
        return
    aside = folder.home / ".latest.writing"
    aside.unlink(missing_ok=True)
    os.symlink(os.path.join("history", max(published).name), aside)
    os.replace(aside, latest)
    write_text(f"{latest} leads to {max(published).name}\n")


def _prune(folder: RunFolder, arguments: argparse.Namespace) -> None:
    with folder.for_this_run("RUN"):
        found = plan(folder, arguments.keep)
        said = found.in_words()
        if arguments.dry_run:
            write_text(f"would go: {said}\n" + "".join(f"  {path}\n" for path in found.folders))
            return
        found.carry_out()
        write_text(f"gone: {said}\n")


if __name__ == "__main__":
    sys.exit(main())
