"""`python -m tfx_pipeline.contract DIR [--out DIR]`: check an input folder, print what it holds, write it checked.

With `--suggest` it prints the setting `columns` for a folder whose columns have names of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Nothing was written.")  # before the imports below, which take a second

from tfx_pipeline.contract.catalogue import Catalogue, check
from tfx_pipeline.contract.column_names import ColumnNames
from tfx_pipeline.contract.plays_check import CheckConfig
from tfx_pipeline.contract.prepare import prepare
from tfx_pipeline.contract.suggestion.mapping import suggest
from tfx_pipeline.contract.text import on_one_line
from tfx_pipeline.contract.training.needs import TrainingNeeds
from tfx_pipeline.runtime.console import write_text


def describe(catalogue: Catalogue) -> str:
    """Returns the catalogue in words, with a line for each field."""
    width = max(len(field.name) for field in catalogue.fields)
    kinds = [f"{field.kind}({field.length})" if field.is_sized else field.kind for field in catalogue.fields]
    counts = f"{catalogue.num_songs:,} songs, {catalogue.num_users:,} users, {catalogue.num_plays:,} plays"
    lines = [f"{catalogue.folder}: {counts}"]
    for field, kind, missing in zip(catalogue.fields, kinds, catalogue.missing, strict=True):
        lines.append(f"  {field.name:<{width}}  {kind:<14}  {missing:6.1%} missing")
    lines.append(f"  for display: {', '.join(map(on_one_line, catalogue.display)) or 'none'}")
    lines.append(f"  plays: {', '.join(catalogue.plays_columns)}; {catalogue.unknown_plays:.2%} of unknown songs")
    return "\n".join([*lines, *(f"  note: {note}" for note in catalogue.notes)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks the folder. Returns 0, or 2 with one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.contract", description="Check an input folder and print what it holds."
    )
    parser.add_argument("folder", help="holds songs.parquet and plays.parquet, or the same as CSV; a path or a URI")
    parser.add_argument(
        "--max-unknown-plays",
        type=float,
        default=0.01,
        help="largest share of plays whose song is unknown, from 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        help="JSON file of settings, for column names, the check and what training needs (default: the pipeline's)",
    )
    parser.add_argument(
        "--for-refresh", action="store_true", help="do not count what training needs (default: count it)"
    )
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="print a settings file that maps the columns to the contract's names; check nothing (default: check)",
    )
    parser.add_argument("--out", help="folder for the checked input, as the pipeline reads it (default: not written)")
    options = parser.parse_args(arguments)
    share = options.max_unknown_plays
    try:
        if options.suggest:
            found = suggest(options.folder)
            sys.stderr.write("".join(f"not sure: {doubt}\n" for doubt in found.doubts))
            write_text(found.as_settings())
            return 0
        columns, config = ColumnNames.read(options.settings), CheckConfig.read(options.settings)
        needs = TrainingNeeds.read(options.settings) if options.settings else TrainingNeeds()
        training = None if options.for_refresh else needs
        if options.out:
            catalogue = prepare(
                options.folder,
                options.out,
                max_unknown_plays=share,
                training=training,
                columns=columns,
                config=config,
            )
        else:
            catalogue = check(
                options.folder, max_unknown_plays=share, training=training, columns=columns, config=config
            )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write_text(describe(catalogue) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
