"""Turns the request log of a server into a warm-up file, or into a table to join with plays.

    python -m serving.request_log warmup /var/log/bcl/*.tfrecord --out tf_serving_warmup_requests
    python -m serving.request_log table /var/log/bcl/*.tfrecord --out asked.parquet

`warmup` takes the first different requests. Put its file into `assets.extra` of a version before you publish that.
`table` has a row for each song that was asked about: time, request_id, model, version, signature, row, song_id, song,
match_ids, match_scores. A file that ends in `.part` is read as far as its records are whole.

The exit code is 2 for a log that cannot be read. Then nothing is written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    try:
        line = _table(arguments) if arguments.command == "table" else _warmup(arguments)
    except (ValueError, OSError) as error:  # LogError is a ValueError
        sys.stderr.write(f"{error}\n")
        return 2
    except tf.errors.OpError as error:
        sys.stderr.write(f"{arguments.out}: cannot be written. {error.message}\n")
        return 2
    sys.stdout.write(f"{line}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.request_log", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    warmup = _command(commands, "warmup", "Write the first different requests as warm-up requests.")
    warmup.add_argument(
        "--count",
        type=int,
        default=100,
        metavar="N",
        help="the most requests, from 1 to 1000, which is TensorFlow Serving's limit (default: %(default)s)",
    )
    _command(commands, "table", "Write a row for each song that was asked about.")
    return parser


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("logs", nargs="+", metavar="LOG", help="files of a request log")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write, in place of an old one")
    parser.add_argument("--model", metavar="NAME", help="take requests to this model alone (default: to all)")
    return parser


def _warmup(arguments: argparse.Namespace) -> str:
    from serving.request_log.warmup import write_warmup
    from serving.server.inference.warmup import MAX_RECORDS

    if not 1 <= arguments.count <= MAX_RECORDS:
        raise ValueError(f"--count: expected a number from 1 to {MAX_RECORDS}. Received: {arguments.count}")
    count = write_warmup(_logs(arguments), arguments.out, arguments.count)
    return f"{count} different requests: {arguments.out}"


def _table(arguments: argparse.Namespace) -> str:
    from serving.request_log.rows import rows_of
    from serving.request_log.table import write_table

    count = write_table((row for log in _logs(arguments) for row in rows_of(log)), arguments.out)
    return f"{count} songs: {arguments.out}"


def _note(line: str) -> None:
    sys.stderr.write(f"note: {line}\n")


def _logs(arguments: argparse.Namespace) -> Iterator[Any]:
    from serving.request_log.reading import read_logs

    for log in read_logs(arguments.logs, _note):
        if arguments.model in (None, log.log_metadata.model_spec.name):
            yield log


if __name__ == "__main__":
    sys.exit(main())
