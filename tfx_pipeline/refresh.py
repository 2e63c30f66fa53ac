"""Brings the index of a served model up to date without training, and publishes it as the next version.

    python -m tfx_pipeline.refresh SERVING_DIR --songs new.parquet              # add these songs
    python -m tfx_pipeline.refresh SERVING_DIR --drop gone.txt                  # take these down
    python -m tfx_pipeline.refresh SERVING_DIR --songs songs.parquet --catalogue   # these are all there are
    python -m tfx_pipeline.refresh RUN/serving --songs new.parquet --targets    # and find their listeners

New songs need features only; they are embedded with the served model. Songs that stay keep their embeddings exactly.
Songs that are taken down are recorded in SERVING_DIR, so that no later refresh or training brings them back, until
`--restore` names them. A list of ids is text with an id on each line, CSV or Parquet; see `contract.id_lists`.

--targets matches the added songs and finds their listeners with the settings, plays and exclusions of the last run.
RUN/refreshed/VERSION then has the tables of RUN/latest for these songs: targets, matches, embeddings, songs_summary and
manifest.json, whole or not at all. A song gets neither matches nor targets if the model knows none of its values.

Ends with exit code 2 and one message on bad input; then nothing is published.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals("Nothing was published.")  # before the imports below

from tfx_pipeline.contract.column_names import ColumnNames
from tfx_pipeline.contract.id_lists import read_ids
from tfx_pipeline.contract.prepare import recorded_names
from tfx_pipeline.contract.stores.location import locate
from tfx_pipeline.runtime.console import import_quietly, write_text
from tfx_pipeline.runtime.keras_backend import use_tensorflow
from tfx_pipeline.runtime.run_folder import RunFolder

if TYPE_CHECKING:
    from tfx_pipeline.index_refresh.steps import Refresh
    from tfx_pipeline.index_refresh.targets import Rules


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    # Messages of TensorFlow and of the packages below it are hidden, so these are imported late, too.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore", FutureWarning)
    from serving.protocol.errors import RequestError

    try:
        lines = _refresh(arguments)
    except (ValueError, RequestError, OSError) as error:  # ContractError, RefreshError and PublishError are ValueErrors
        sys.stderr.write(f"{error}\n")
        return 2
    write_text("".join(f"{line}\n" for line in lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.refresh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("serving_dir", type=Path, help="folder of the model's versions, as the pipeline pushes them")
    parser.add_argument(
        "--songs",
        metavar="FILE",
        help="songs to add, as songs.parquet: song_id and features; a path or a URI (default: none)",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="JSON file of settings whose `columns` names those of the files (default: as in the last run)",
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
    parser.add_argument(
        "--targets",
        action="store_true",
        help="match the songs added and find their listeners: SERVING_DIR is of a run (default: not)",
    )
    parser.add_argument(
        "--exclusions",
        type=Path,
        metavar="FILE",
        help="with --targets: who gets none, as the pipeline takes it (default: as in the last run)",
    )
    parser.add_argument(
        "--keep-versions",
        "--keep_versions",
        type=int,
        metavar="N",
        help="remove all but the latest N versions afterwards; a rollback needs 2 (default: none is removed)",
    )
    parser.add_argument(
        "--model-config-file",
        "--model_config_file",
        type=Path,
        metavar="FILE",
        help="with --keep-versions: the server's own; what its policies and labels name stays (default: it has none)",
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


def _refresh(arguments: argparse.Namespace) -> list[str]:
    _check(arguments)
    use_tensorflow()
    import_quietly("tensorflow")
    if not arguments.targets:
        return _request(arguments, None).publish()
    import_quietly("apache_beam")
    from tfx_pipeline.index_refresh.targets import locked_rules

    with locked_rules(arguments.serving_dir, arguments.exclusions) as rules:
        return _request(arguments, rules).publish()


def _check(arguments: argparse.Namespace) -> None:
    if arguments.songs is None and arguments.drop is None and arguments.restore is None:
        raise ValueError("--songs, --drop, --restore: expected at least one of them. Received: none")
    for option, why in (("catalogue", "says what the catalogue is"), ("targets", "names the songs")):
        if getattr(arguments, option) and arguments.songs is None:
            raise ValueError(f"--{option}: expected --songs with it, which {why}. Received: no --songs")
    if arguments.exclusions is not None and not arguments.targets:
        raise ValueError("--exclusions: expected --targets with it. Received: no --targets")
    if arguments.keep_versions is not None and arguments.keep_versions < 1:
        raise ValueError(f"--keep-versions: expected at least 1. Received: {arguments.keep_versions}")
    if arguments.model_config_file is not None and arguments.keep_versions is None:
        raise ValueError("--model-config-file: expected --keep-versions with it. Received: no --keep-versions")


def _request(arguments: argparse.Namespace, rules: Rules | None) -> Refresh:
    from tfx_pipeline.index_refresh.steps import Refresh

    names = _columns(arguments).of("songs")
    return Refresh(
        base=str(arguments.serving_dir),
        songs=None if arguments.songs is None else locate(arguments.songs),
        drop=read_ids(arguments.drop, names=names) if arguments.drop else None,
        restore=read_ids(arguments.restore, names=names) if arguments.restore else None,
        is_catalogue=arguments.catalogue,
        ignore_missing=arguments.ignore_missing,
        max_dropped=arguments.max_dropped,
        rules=rules,
        keep_versions=arguments.keep_versions,
        model_config_file=arguments.model_config_file,
        names=names,
    )


def _columns(arguments: argparse.Namespace) -> ColumnNames:
    if arguments.settings is not None:
        return ColumnNames.read(arguments.settings)
    return recorded_names(RunFolder.at(arguments.serving_dir.absolute().parent).input)


if __name__ == "__main__":
    sys.exit(main())
