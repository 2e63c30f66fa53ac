"""Brings the index of a served model up to date without training, and publishes it as the next version.

    python -m tfx_pipeline.refresh SERVING_DIR --songs new.parquet              # add these songs
    python -m tfx_pipeline.refresh SERVING_DIR --drop gone.txt                  # drop these, one id per line
    python -m tfx_pipeline.refresh SERVING_DIR --songs songs.parquet --catalogue   # these are all there are

New songs need features only; they are embedded with the served model. Songs that stay keep their embeddings exactly.
Ends with exit code 2 and one message on bad input; then nothing is published.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from tfx_pipeline.stopping import heed_signals

if __name__ == "__main__":
    heed_signals("Nothing was published.")  # before the imports below

from tfx_pipeline.console import import_quietly
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.keras_backend import use_tensorflow


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    # What TensorFlow and the packages below it say while they are imported is not for whoever runs this command; so
    # they are imported late, too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore", FutureWarning)
    from serving.server.errors import RequestError

    try:
        _refresh(arguments)
    except (ValueError, RequestError, OSError) as error:  # ContractError, RefreshError and PublishError are ValueErrors
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.refresh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("serving_dir", type=Path, help="folder of the model's versions, as the pipeline pushes them")
    parser.add_argument(
        "--songs", type=Path, metavar="FILE", help="Parquet file as songs.parquet: song_id and features"
    )
    parser.add_argument("--catalogue", action="store_true", help="--songs are all songs: drop those it lacks")
    parser.add_argument("--drop", type=Path, metavar="FILE", help="text file with ids to drop (and not to add)")
    parser.add_argument(
        "--max-dropped",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="the largest share of the index that --catalogue may drop (default 0.2)",
    )
    return parser


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1. Received: {text!r}")
    return share


def _refresh(arguments: argparse.Namespace) -> None:
    if arguments.songs is None and arguments.drop is None:
        raise ValueError("--songs, --drop: expected one of them, or both. Received: neither")
    if arguments.catalogue and arguments.songs is None:
        raise ValueError(
            "--catalogue: expected --songs with it, which says what the catalogue is. Received: no --songs"
        )
    drop = _read_ids(arguments.drop) if arguments.drop else frozenset()
    use_tensorflow()
    import_quietly("tensorflow")
    from serving.publish import next_version
    from serving.refresh import refreshed_index
    from serving.saved_version import SavedVersion, write_version
    from tfx_pipeline.new_songs import NewSongs

    with next_version(str(arguments.serving_dir)) as publication:
        with SavedVersion(publication.latest) as version:
            songs: Iterable[tuple[str, bytes]] = ()
            if arguments.songs:
                songs = NewSongs(arguments.songs, version.fields, integer_ids=version.index.has_integer_ids)
                _say_passed_over(songs.passed_over)
            index, changes = refreshed_index(
                version, songs, drop=drop, is_catalogue=arguments.catalogue, max_dropped=arguments.max_dropped
            )
        if changes:
            write_version(publication.latest, publication.staging, index)
    counts = f"added {len(changes.added):,}, dropped {len(changes.dropped):,}, kept {changes.kept:,}"
    sys.stdout.write(f"{counts}: {publication.published or 'nothing to publish'}\n")


def _say_passed_over(columns: Sequence[str]) -> None:
    if columns:
        sys.stdout.write(f"not read, because the model was trained without them: {', '.join(columns)}\n")


def _read_ids(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise broken(path, "a text file with an id per line", str(error)) from error
    for row, line in enumerate(lines):
        if not line.strip():
            raise broken(path, "an id", "an empty line", row=row)
    return frozenset(line.strip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
