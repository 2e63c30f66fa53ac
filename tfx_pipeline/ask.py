"""Matches and listeners that a run found for a song: `python -m tfx_pipeline.ask RUN --song ID`.

    python -m tfx_pipeline.ask runs/simulated --song new_song_7
    python -m tfx_pipeline.ask runs/simulated --song new_song_7 --format json
    python -m tfx_pipeline.ask runs/simulated --song-json '{"attribute_genre": "rock"}'

--song reads RUN/latest. It shows the similar songs with what they have in common, and the listeners with the similar
songs that they play. --song-json asks the model that RUN serves about a song that need not be in the data; it has
matches and no listeners.

A match's score lies between -1 and 1, and larger is more similar. A listener's score is comparable within one song;
docs/reference/outputs.md says what it is by rule, and manifest.json its range. A song has neither if the model knows
none of its values.

Ends with exit code 2 and one message for a song that does not exist.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx_pipeline.runtime.console import write_text
from tfx_pipeline.runtime.stopping import stop_on_signals

if __name__ == "__main__":
    stop_on_signals()  # before the imports below, which take a second

from serving.client.json_songs import read_songs
from tfx_pipeline.outputs.answers import Answer, about_new_song, about_song
from tfx_pipeline.outputs.formats import FORMATS


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the answer; returns the exit code: 0, or 2 for a song or a run that does not exist."""
    arguments = _parser().parse_args(argv)
    try:
        write_text(FORMATS[arguments.format](_answer(arguments)))
    except (ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tfx_pipeline.ask", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the runs: what the demo calls OUT")
    song = parser.add_mutually_exclusive_group(required=True)
    song.add_argument("--song", metavar="ID", help="id of a song of the data (default: none; give this or --song-json)")
    song.add_argument(
        "--song-json",
        metavar="JSON",
        help="fields of one song as a JSON object, @file, or - for standard input (default: none)",
    )
    parser.add_argument("--matches", type=_count, default=10, help="most similar songs shown (default: %(default)s)")
    parser.add_argument("--listeners", type=_count, default=10, help="most listeners shown (default: %(default)s)")
    parser.add_argument(
        "--format", choices=sorted(FORMATS), default="table", help="form of the answer (default: %(default)s)"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0. Received: {text!r}")
    return int(text)


def _answer(arguments: argparse.Namespace) -> Answer:
    if arguments.song is not None:
        return about_song(arguments.run, arguments.song, arguments.matches, arguments.listeners)
    songs = read_songs(arguments.song_json)
    if len(songs) != 1:
        raise ValueError(f"--song-json: expected one song. Received: {len(songs)}")
    return about_new_song(arguments.run, songs[0], arguments.matches)


if __name__ == "__main__":
    sys.exit(main())
