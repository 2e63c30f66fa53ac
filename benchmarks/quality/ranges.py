"""Write the page of the quality benchmark's rows, with the values that the settings of each are searched in.

python -m benchmarks.quality.ranges [--out docs/reference/rows.md]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.quality.draws import TRIALS, Search
from serving.files.whole_files import write_whole
from tfx_pipeline.runtime.keras_backend import use_tensorflow

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PAGE = Path("docs/reference/rows.md")

_INTRODUCTION = """# Rows of the quality benchmark

A row is one line of the benchmark's tables: a baseline, or the model with one part changed. The column `settings` says
how the settings of a row are chosen: `fixed`, `searched`, or `those of` another row.

Every trained row that is searched tries {trials} settings: the row's default, then random ones. Each is trained until
the validation songs improve no more. They are evaluated every {round} steps. Training stops after {patience}
evaluations without improvement, or at {steps:,} steps.

The best setting is chosen on the validation songs of the first split. The measure is the geometric mean of two recalls,
of similar songs and of listeners, each divided by that of content cosine.

`python -m benchmarks.quality.tuning --data DIR --keep` writes the chosen settings, commit and budget into
`benchmarks/results/settings-SET.json`. Rows read that file; without it they use their defaults. A row in closed form
tries as many settings itself, in every split.
"""


def page() -> str:
    """Returns the page."""
    from benchmarks.quality.baselines import artists, collective_factors, kernel, metadata, neighbours, side_information
    from benchmarks.quality.baselines.training import MOST_STEPS, PATIENCE, ROUND
    from benchmarks.quality.rows import ROWS

    closed: dict[str, Search] = {
        "weighted count, options": neighbours.COUNT_SEARCH,
        "artist attention": artists.ATTENTION_SEARCH,
        "kernel ridge, options": kernel.RIDGE_SEARCH,
        "EASE with side information": side_information.EASE_SEARCH,
        "MARec": metadata.MAREC_SEARCH,
        "cmfrec": collective_factors.SEARCH,
    }
    lines = [_INTRODUCTION.format(trials=TRIALS, round=ROUND, patience=PATIENCE, steps=MOST_STEPS)]
    for family in dict.fromkeys(row.family for row in ROWS):
        lines += [f"## {family[0].upper()}{family[1:]}", "", "| row | what it is | settings |", "| --- | --- | --- |"]
        for row in ROWS:
            search = row.search or closed.get(row.name)
            if row.family == family:
                fixed = f"those of `{row.settings_from}`" if row.settings_from else "fixed"
                lines.append(f"| {row.name} | {row.what} | {'searched' if search else fixed} |")
        lines.append("")
    return "\n".join(lines) + _tables({row.name: row.search for row in ROWS if row.search} | closed)


def _tables(searches: Mapping[str, Search]) -> str:
    lines = ["## Values searched", "", "The default is in bold."]
    for name, search in searches.items():
        lines += ["", f"**{name}**", "", "| setting | values |", "| --- | --- |"]
        lines += [
            f"| `{setting}` | {_values(values, search.start[setting])} |" for setting, values in search.space.items()
        ]
    return "\n".join(lines) + "\n"


def _values(values: Iterable[object], start: object) -> str:
    return ", ".join(f"**{value}**" if value == start else str(value) for value in values)


def main(arguments: list[str]) -> int:
    """Writes the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality.ranges", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, default=PAGE, help="file to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    use_tensorflow()  # before Keras is imported
    write_whole(options.out, page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
