"""Make the tables of docs/results/similar-songs.md from data: every set, every row, then the pages.

python -m benchmarks.evidence DATA [--out runs/evidence] [--seeds 5] [--rows NAME ...] [--quick]

DATA holds folders of the input contract under the names of `SETS`; those that are missing are left out. Last.fm-2K in
its two forms is written from `raw/hetrec2011-lastfm-2k.zip` of DATA where that is, with the fields that DATA's own
lastfm-2k has. The simulated catalogue is simulated. What was measured already and is current is not measured again.

With --quick it measures the main rows of the headline form of Last.fm-2K on one split, and keeps nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

#: The first is the headline.
LASTFM, LASTFM_AS_IS = "lastfm-2k-strangers", "lastfm-2k"
SIMULATED = "simulated"
SETS = (LASTFM, LASTFM_AS_IS, "polimi-playlists", "ambar", "citeulike-a", SIMULATED, "eurovision")
ARCHIVE = Path("raw") / "hetrec2011-lastfm-2k.zip"
SIMULATION: dict[str, Any] = {"songs": 2_000, "users": 1_000, "plays": 80_000, "seed": 0}


def main(arguments: list[str]) -> int:
    """Measures, keeps the tables and writes the pages. Returns 0, or 2 with one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evidence", description=(__doc__ or "").split("\n\n", maxsplit=1)[0]
    )
    parser.add_argument("data", type=Path, help="folder with the data sets' folders")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evidence"), help="folder for all that is measured (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of splits (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="rows of benchmarks.quality (default: all)")
    parser.add_argument("--quick", action="store_true", help="one set, one split, the main rows; keeps nothing")
    parser.add_argument(
        "--hardware", help="class of hardware, such as `2 cores, no GPU`; needed to keep the tables (default: none)"
    )
    options = parser.parse_args(arguments)
    if not (options.quick or options.hardware):
        parser.error("--hardware is needed, or --quick, which keeps nothing")
    try:
        folders = folders_of(options.data, options.out / "data", (LASTFM,) if options.quick else SETS)
        return measure(folders, options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def folders_of(data: Path, made: Path, names: tuple[str, ...]) -> list[Path]:
    """Returns the folders of the sets that are there; makes those that can be made in `made`.

    Raises:
        FileNotFoundError: If none is there.
    """
    from tfx_pipeline.datasets import lastfm
    from tfx_pipeline.datasets.simulate import simulate

    found = {name: data / name for name in names if (data / name / "songs.parquet").is_file()}
    if (data / ARCHIVE).is_file():
        more = data / LASTFM_AS_IS if (data / LASTFM_AS_IS).is_dir() else None
        forms: tuple[tuple[str, lastfm.Tags], ...] = ((LASTFM_AS_IS, "all"), (LASTFM, "strangers"))
        for name, tags in forms:
            if name in names:
                found[name] = made / name
                if not (made / name).is_dir():
                    made.mkdir(parents=True, exist_ok=True)
                    lastfm.convert(data / ARCHIVE, made / name, tags=tags, more=more)
    if SIMULATED in names and SIMULATED not in found:
        found[SIMULATED] = made / SIMULATED
        if not found[SIMULATED].is_dir():
            made.mkdir(parents=True, exist_ok=True)
            simulate(found[SIMULATED], **SIMULATION)
    if not found:
        raise FileNotFoundError(f"{data}: expected folders of {', '.join(names)}, or {ARCHIVE}. Received: none")
    return [found[name] for name in names if name in found]


def measure(folders: list[Path], options: argparse.Namespace) -> int:
    """Measures the rows on the sets; unless quick, keeps the tables and writes the pages."""
    from benchmarks import results_pages
    from benchmarks.quality.__main__ import main as quality

    asked = ["--data", *map(str, folders), "--out", str(options.out), "--seeds", str(options.seeds)]
    asked += ["--rows", *options.rows] if options.rows else []
    if options.quick:
        return quality([*asked, "--quick"])
    if code := quality(asked):
        return code
    results, command = str(options.out / "results.json"), "python -m benchmarks.evidence DATA"
    return results_pages.main(["--keep", results, "--command", command, "--hardware", options.hardware])


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main(sys.argv[1:]))
