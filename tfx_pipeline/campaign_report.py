"""Yesterday's targets against today's plays: `python -m tfx_pipeline.campaign_report --targets FILE --plays FILE`.

It counts how many listeners played and liked a song: among those that it was pushed to, and among those set aside at
random. The difference of the two is what the push brought.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from tfx_pipeline.runtime.console import import_quietly
from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Nothing was written.")  # before Beam, which takes seconds

import_quietly("apache_beam")

from serving.files.whole_files import write_whole
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.contract.plays import read_plays
from tfx_pipeline.contract.source import Source
from tfx_pipeline.targeting import read_targets
from tfx_pipeline.targeting.outcomes import as_text, outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Reports what became of targets.

    Args:
        argv: Arguments of the command; default those of the process.

    Returns:
        The exit code: 0, or 2 for bad input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.campaign_report", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument(
        "--targets", type=Path, required=True, help="targets.parquet of a run, or the folder that targeting wrote"
    )
    parser.add_argument(
        "--plays", type=Path, required=True, help="plays since then: a Parquet file or a folder of them"
    )
    parser.add_argument(
        "--out", type=Path, help="file for the same as JSON, with a row per song (default: not written)"
    )
    options = parser.parse_args(argv)
    try:
        found, songs = outcomes(_read_targets(options.targets), _read_plays(options.plays))
        if options.out:
            report = {"groups": [asdict(o) for o in found], "songs": songs.to_pylist()}
            write_whole(options.out, json.dumps(report, indent=1) + "\n")
    except (ValueError, OSError) as error:  # ContractError is a ValueError
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(as_text(found) + "\n")
    return 0


def _read_targets(path: Path) -> pa.Table:
    if path.is_dir():
        return read_targets(str(path))
    source, columns = Source.at(path), [SONG_ID, USER_ID, "group"]
    for name in columns:
        source.check_ids(name)
    schema = pa.schema([(name, pa.string()) for name in columns])
    batches = source.batches(columns)
    parts = [pa.table([rows.column(name).cast(pa.string()) for name in columns], schema=schema) for rows in batches]
    return pa.concat_tables([schema.empty_table(), *parts])


def _read_plays(table: Path) -> pa.Table:
    return read_plays(Source.at(table))


if __name__ == "__main__":
    sys.exit(main())
