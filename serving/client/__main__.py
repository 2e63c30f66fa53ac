"""Command line of the client.

    python -m serving.client match --song-json '{"attribute_genre": "rock"}' --k 5
    python -m serving.client embed --song-json @songs.json
    python -m serving.client status --target localhost:8500

Prints one line of JSON per song, version or signature. `known_fields` is how many fields of a song the model knows,
null if it has no such output. A line on standard error warns if it knows none. The exit code is 2 for input that does
not fit, and 1 if the server fails.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from serving.client import TLS, Client, Explained, Likely, ServingError, UnknownSongWarning
from serving.client.json_songs import read_songs
from serving.client.known_fields import KNOWN_FIELDS
from serving.client.results import is_song
from serving.client.songs import SONG_ID

# JSON escapes control characters below U+0020, but not these.
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029]")


def _match(client: Client, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    songs = read_songs(arguments.song_json)
    exclude = [arguments.exclude] * len(songs) if arguments.exclude is not None else None
    if arguments.why:
        yield from _explained(client.explain(songs, arguments.k, exclude=exclude, ignore=arguments.ignore), songs)
        return
    if arguments.chances:
        yield from _likely(client.chances(songs, arguments.k, exclude=exclude, ignore=arguments.ignore), songs)
        return
    ids, scores, known = client.match(
        songs, arguments.k, exclude=exclude, ignore=arguments.ignore, with_known_fields=True
    )
    rows = zip(_heads(songs, known), ids.tolist(), scores.tolist(), strict=True)
    for head, row_ids, row_scores in rows:
        of_song = zip(row_ids, row_scores, strict=True)
        matches = [{"song_id": i, "score": round(s, 6)} for i, s in of_song if is_song(i)]
        yield {**head, "matches": matches}


def _explained(found: Explained, songs: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for row, song in enumerate(songs):
        of_song = zip(found.ids[row].tolist(), found.scores[row].tolist(), found.shares[row].tolist(), strict=True)
        matches = [
            {
                "song_id": song_id,
                "score": round(score, 6),
                "shares": {name: round(share, 6) for name, share in zip(found.parts, shares, strict=True)},
            }
            for song_id, score, shares in of_song
            if is_song(song_id)
        ]
        yield {SONG_ID: song.get(SONG_ID), "matches": matches}


def _likely(found: Likely, songs: Sequence[Any]) -> Iterator[dict[str, Any]]:
    columns = {"song_id": found.ids, "score": found.scores, "chance": found.chance}
    columns |= {"chance_low": found.low, "chance_high": found.high}
    for row, head in enumerate(_heads(songs, found.known_fields)):
        of_song = zip(*(values[row].tolist() for values in columns.values()), strict=True)
        matches = [
            {"song_id": song_id, **{name: round(n, 6) for name, n in zip(list(columns)[1:], numbers, strict=True)}}
            for song_id, *numbers in of_song
            if is_song(song_id)
        ]
        yield {**head, "matches": matches}


def _embed(client: Client, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    songs = read_songs(arguments.song_json)
    embeddings, known = client.embed(songs, ignore=arguments.ignore, with_known_fields=True)
    for head, row in zip(_heads(songs, known), embeddings.tolist(), strict=True):
        yield {**head, "embedding": row}


def _heads(songs: Sequence[Any], known: Any) -> list[dict[str, Any]]:
    """Returns what the line of each song starts with."""
    counts = [None] * len(songs) if known is None else known.tolist()
    return [{SONG_ID: song.get(SONG_ID), KNOWN_FIELDS: count} for song, count in zip(songs, counts, strict=True)]


def _as_json(line: dict[str, Any]) -> str:
    """Returns JSON on one line: text as it is, except what ends a line or what the terminal's encoding lacks."""
    text = _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(line, ensure_ascii=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(line)
    return text


def _status(client: Client, _: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for version in client.status():
        yield vars(version)


def _metadata(client: Client, _: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name, signature in client.metadata().items():
        specs = {"inputs": signature.inputs, "outputs": signature.outputs}
        yield {"signature": name} | {
            part: {key: str(spec) for key, spec in values.items()} for part, values in specs.items()
        }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    common, songs = _server_arguments(), _song_arguments()
    commands = parser.add_subparsers(dest="command", required=True)
    match = commands.add_parser("match", parents=[common, songs], **_help("Ids and scores of similar songs."))
    match.add_argument("--k", type=int, default=10, help="number of similar songs (default: %(default)s)")
    match.add_argument("--exclude", help="id that must not come back (default: each song's song_id)")
    more = match.add_mutually_exclusive_group()
    more.add_argument(
        "--why",
        action="store_true",
        help="show what each part of a song gives to a score, if the model can (default: not)",
    )
    more.add_argument(
        "--chances",
        action="store_true",
        help="show how likely each match is right, with a 95 %% interval, if the model can (default: not)",
    )
    match.set_defaults(run=_match)
    embed = commands.add_parser("embed", parents=[common, songs], **_help("Embeddings of songs."))
    embed.set_defaults(run=_embed)
    status = commands.add_parser("status", parents=[common], **_help("Versions of the model and their states."))
    status.set_defaults(run=_status)
    metadata = commands.add_parser("metadata", parents=[common], **_help("Signatures of the model."))
    metadata.set_defaults(run=_metadata)
    return parser


def _server_arguments() -> argparse.ArgumentParser:
    """Returns the arguments of every command: which model to ask, and how."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--target",
        default="localhost:8500",
        help="address of the server, host:port or unix:/path (default: %(default)s)",
    )
    common.add_argument("--model_name", "--model-name", default="bcl", help="name of the model (default: %(default)s)")
    common.add_argument("--version", type=int, help="number of the model's version (default: the latest)")
    common.add_argument("--label", help="label of the model's version (default: none)")
    common.add_argument("--timeout", type=float, default=10.0, help="most seconds for a call (default: %(default)s)")
    common.add_argument("--token-file", help="file with the bearer token that the server asks for (default: none)")
    common.add_argument("--tls-ca", help="PEM file of the server's authority: switches TLS on (default: none)")
    common.add_argument("--tls-cert", help="PEM file of the client's certificate (default: none)")
    common.add_argument("--tls-key", help="PEM file of the client's key (default: none)")
    return common


def _song_arguments() -> argparse.ArgumentParser:
    """Returns the arguments of commands that take songs."""
    songs = argparse.ArgumentParser(add_help=False)
    songs.add_argument("--song-json", required=True, help="JSON of one song or a list, @file, or - for standard input")
    songs.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column of the songs that is no field; may be given again (default: none)",
    )
    return songs


def _help(text: str) -> dict[str, Any]:
    """Returns a command's help, for the list of commands and for the command alone."""
    return {"help": text, "description": text}


def _client(arguments: argparse.Namespace) -> Client:
    tls = None
    if arguments.tls_ca or arguments.tls_cert or arguments.tls_key:
        tls = TLS(arguments.tls_ca, arguments.tls_cert, arguments.tls_key)
    return Client(
        arguments.target,
        model_name=arguments.model_name,
        version=arguments.version,
        version_label=arguments.label,
        timeout=arguments.timeout,
        tls=tls,
        token=_token(arguments.token_file),
    )


def _token(path: str | None) -> str | None:
    """Returns the first token of a file. Not an argument: other users of the machine see arguments."""
    if path is None:
        return None
    lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ValueError(f"{path}: expected a token on a line of its own. Received: none")
    return tokens[0]


def _write_warning(
    message: Warning | str, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None
) -> None:
    """Replaces `warnings.showwarning`, which would show a line of code, too."""
    sys.stderr.write(f"{message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        with _client(arguments) as client, warnings.catch_warnings():
            warnings.simplefilter("always", UnknownSongWarning)
            warnings.showwarning = _write_warning
            for line in arguments.run(client, arguments):
                sys.stdout.write(_as_json(line) + "\n")
    except ServingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
