"""Brings the index of a served model up to date without training, and publishes it as the next version.

    python -m tfx_pipeline.refresh SERVING_DIR --songs new.parquet              # add these songs
    python -m tfx_pipeline.refresh SERVING_DIR --drop gone.txt                  # take these down
    python -m tfx_pipeline.refresh SERVING_DIR --songs songs.parquet --catalogue   # these are all there are

New songs need features only; they are embedded with the served model. Songs that stay keep their embeddings exactly.
Songs that are taken down are recorded in SERVING_DIR, so that no later refresh or training brings them back, until
`--restore` names them. A list of ids is text with an id on each line, CSV or Parquet; see `id_lists`.
Ends with exit code 2 and one message on bad input; then nothing is published.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

from tfx_pipeline.stopping import heed_signals

if __name__ == "__main__":
    heed_signals("Nothing was published.")  # before the imports below

from serving.takedown import record_taken_down, taken_down
from tfx_pipeline.console import import_quietly, write_text
from tfx_pipeline.id_lists import read_ids
from tfx_pipeline.keras_backend import use_tensorflow

_NAMED = 10  # songs that a message names


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
        "--songs",
        type=Path,
        metavar="FILE",
        help="songs to add, as songs.parquet: song_id and features (default: none)",
    )
    parser.add_argument("--catalogue", action="store_true", help="--songs are all songs: drop those it lacks")
    parser.add_argument(
        "--drop", type=Path, metavar="FILE", help="list of ids to take down: dropped, never added again (default: none)"
    )
    parser.add_argument(
        "--restore", type=Path, metavar="FILE", help="list of ids taken down that may come back (default: none)"
    )
    parser.add_argument(
        "--ignore-missing",
        action="store_true",
        help="ids of these lists may be unknown; so may songs that the index never had",
    )
    parser.add_argument(
        "--max-dropped",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="largest share of the index that --catalogue may drop, from 0 to 1 (default: %(default)s)",
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
    if arguments.songs is None and arguments.drop is None and arguments.restore is None:
        raise ValueError("--songs, --drop, --restore: expected at least one of them. Received: none")
    if arguments.catalogue and arguments.songs is None:
        raise ValueError(
            "--catalogue: expected --songs with it, which says what the catalogue is. Received: no --songs"
        )
    drop = read_ids(arguments.drop) if arguments.drop else None
    restore = read_ids(arguments.restore) if arguments.restore else None
    use_tensorflow()
    import_quietly("tensorflow")
    from serving.publish import next_version
    from serving.refresh import refreshed_index
    from serving.saved_version import SavedVersion, write_version
    from tfx_pipeline.new_songs import NewSongs

    base, ignore = str(arguments.serving_dir), arguments.ignore_missing
    with next_version(base) as publication:
        gone = taken_down(base)
        if restore:
            gone -= restore.meant(gone, "songs that were taken down", ignore_missing=ignore)
        with SavedVersion(publication.latest) as version:
            songs: NewSongs | None = None
            given: frozenset[str] = frozenset()
            if arguments.songs:
                songs = NewSongs(arguments.songs, version.fields, integer_ids=version.index.has_integer_ids)
                given = frozenset(songs.ids())
                _say_passed_over(songs.passed_over)
            if drop:
                indexed = frozenset(version.index.names())
                known = "the index, of --songs or of songs taken down before"
                dropped = drop.meant(gone | given | indexed, known, ignore_missing=ignore)
                _say_kept_away(dropped - indexed - gone)
                gone |= dropped
            _say_left_out(given & gone)
            index, changes = refreshed_index(
                version, songs or (), drop=gone, is_catalogue=arguments.catalogue, max_dropped=arguments.max_dropped
            )
        if changes:
            write_version(publication.latest, publication.staging, index)
        # Before the version appears: if this is where the run ends, no song comes back that should be gone.
        record_taken_down(base, gone)
    counts = f"added {len(changes.added):,}, dropped {len(changes.dropped):,}, kept {changes.kept:,}"
    write_text(f"{counts}: {publication.published or 'nothing to publish'}\n")
    _say_unknown(changes.unknown)


def _say_passed_over(columns: Sequence[str]) -> None:
    if columns:
        write_text(f"not read, because the model was trained without them: {', '.join(columns)}\n")


def _say_unknown(song_ids: Sequence[str]) -> None:
    if song_ids:
        named = ", ".join(song_ids[:_NAMED]) + (", ..." if len(song_ids) > _NAMED else "")
        write_text(f"added, but the model knows no value of them: {len(song_ids):,} songs ({named})\n")


def _say_kept_away(ids: Collection[str]) -> None:
    if ids:
        write_text(f"not in the index, and kept out of later versions: {len(ids):,} ({_first(ids)})\n")


def _say_left_out(ids: Collection[str]) -> None:
    if ids:
        write_text(f"not added, because they were taken down: {len(ids):,} of --songs ({_first(ids)})\n")


def _first(ids: Collection[str]) -> str:
    return ", ".join(sorted(ids)[:10]) + (", ..." if len(ids) > 10 else "")


if __name__ == "__main__":
    sys.exit(main())
