"""Measure every baseline and every part of the method on data sets.

python -m benchmarks.quality --data DIR [DIR ...] [--seeds 5] [--rows NAME ...] [--quick] [--sweeps] [--report]

Runs every row on every data set and split, and writes results.json, table.md and report.html into the folder. A study
that was stopped continues where it stopped. A row whose code, settings or data have changed since is run again.

With --last-tenth it judges the songs that are held out for ever, in place of the splits' test songs, and prints them
beside the tables. That is for the end: what has been looked at is held out no more.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.lines import say
from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
use_tensorflow()  # before Keras is imported


def main(arguments: list[str]) -> int:
    """Runs the study."""
    from benchmarks.quality import report
    from benchmarks.quality.problem import LEAST_LISTENERS
    from benchmarks.quality.processes import cores
    from benchmarks.quality.rows import ROWS, SWEEP_POINTS, SWEEP_ROWS
    from benchmarks.quality.study import found, run
    from benchmarks.targeting_study.datasets import drawn, read_data_set

    known = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=(__doc__ or "").split("\n\n")[2])
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in the input contract")
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="number of splits and initial states; test songs of the first 8 do not overlap (default: %(default)s)",
    )
    parser.add_argument(
        "--last-tenth", action="store_true", help="judge the songs that are held out for ever; for the end"
    )
    parser.add_argument("--songs", type=int, help="most songs with at least 3 listeners, drawn by hash (default: all)")
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=known,
        metavar="NAME",
        help=f"rows of the table (default: all, or with --quick the main ones): {', '.join(known)}",
    )
    parser.add_argument("--quick", action="store_true", help="one split, the main rows, one epoch of training")
    parser.add_argument("--sweeps", action="store_true", help="also vary the paper's free settings one by one")
    parser.add_argument(
        "--targeting", type=Path, help="folder of `benchmarks.targeting`'s --out, shown on the page too (default: none)"
    )
    parser.add_argument(
        "--report", action="store_true", help="run nothing: report what lies in OUT/<name of each DIR> already"
    )
    parser.add_argument(
        "--jobs", type=int, default=cores(), help="number of processes (default: one for each core, %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/quality"), help="folder for all that is written (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    chosen = [row for row in ROWS if (row.name in options.rows if options.rows else row.quick or not options.quick)]
    if options.sweeps:
        points = {name for of_setting in SWEEP_POINTS.values() for name in of_setting.values()}
        chosen = [row for row in ROWS if row in chosen or row.name in points] + list(SWEEP_ROWS)
    seeds = range(1 if options.quick else options.seeds)
    studies = []
    if options.report:
        names = [f"{folder.name}-{options.songs}" if options.songs else folder.name for folder in options.data]
        studies = [found(name, (*ROWS, *SWEEP_ROWS), options.out, say) for name in names]
        report.write(studies, options.out, options.targeting)
    for folder in options.data if not options.report else ():
        data, epochs = read_data_set(folder), 1 if options.quick else None
        if options.songs:
            data = drawn(data, options.songs, LEAST_LISTENERS)
        if options.quick:  # rows of one epoch are not the table's
            data = replace(data, name=f"{data.name}-quick")
        studies.append(run(data, chosen, seeds, options.out, say, epochs=epochs, jobs=options.jobs))
        if options.last_tenth:
            run(data, chosen, seeds, options.out, say, epochs=epochs, jobs=options.jobs, last_tenth=True)
        report.write(studies, options.out, options.targeting)
    for name in ("report.html", "table.md", "results.json"):
        say(str(options.out / name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
