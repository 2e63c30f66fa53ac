"""Copies what a run published to a store: `python -m tfx_pipeline.upload RUN STORE`, such as s3://bucket/models/bcl.

It copies the versions of the model, the tables of the last run and those of refreshes, and only what the store lacks.
Each folder gets the marker `_COMPLETE.json` when it is whole. Started again after it was stopped, it goes on. The
setting `push.store` does the same in every run; after a refresh or a rollback, use this command.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Start the command again: it goes on.")  # before the imports below

from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.stores.location import locate
from tfx_pipeline.outputs.uploading import upload
from tfx_pipeline.runtime.console import write_text
from tfx_pipeline.runtime.run_folder import RunFolder


def main(argv: Sequence[str] | None = None) -> int:
    """Copies; returns the exit code: 0, or 2 with one message where the store or the folder cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.upload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of the runs, as --out of a run")
    parser.add_argument("store", help="folder of a store: a URI")
    parser.add_argument(
        "--keep-versions",
        type=int,
        metavar="N",
        help="remove all but the latest N versions of the model from the store (default: none is removed)",
    )
    arguments = parser.parse_args(argv)
    try:
        keep = arguments.keep_versions
        if keep is not None and keep < 1:
            raise ValueError(f"--keep-versions: expected at least 1. Received: {keep}")
        if not (arguments.run / "serving").is_dir():
            raise broken(arguments.run, "the folder of a run that pushed a model", "no folder `serving` in it")
        folder = RunFolder.at(arguments.run)
        with folder.for_this_run("RUN"):
            lines = upload(folder, locate(arguments.store), keep)
    except (ValueError, OSError) as error:  # of the folder or the store
        sys.stderr.write(f"{error}\n")
        return 2
    write_text("".join(f"copied: {line}\n" for line in lines) or "nothing to copy: the store has it all\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
