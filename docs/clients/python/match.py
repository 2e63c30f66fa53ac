"""Prints the songs that are most similar to those of a file, a line of JSON for each: `song_ids` and `scores`.

    python match.py songs.json

Settings: BCL_TARGET (localhost:8500), BCL_MODEL (bcl), BCL_TIMEOUT (10 seconds), BCL_CA (PEM file of the server's
authority; switches TLS on), BCL_TOKEN_FILE (file with the token).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from serving.client import TLS, Client, ServingError, is_song


def connect() -> Client:
    """Returns a client with the settings of the environment."""
    authority, token_file = os.environ.get("BCL_CA"), os.environ.get("BCL_TOKEN_FILE")
    return Client(
        os.environ.get("BCL_TARGET", "localhost:8500"),
        model_name=os.environ.get("BCL_MODEL", "bcl"),
        timeout=float(os.environ.get("BCL_TIMEOUT", "10")),
        tls=TLS(ca=authority) if authority else None,
        token=Path(token_file).read_text(encoding="utf-8").strip() if token_file else None,
    )


def match(client: Client, song: dict[str, Any]) -> dict[str, list[Any]]:
    """Returns ids and scores of the songs most similar to a song, without blank places."""
    fields = {name: value for name, value in song.items() if name not in ("k", "exclude")}
    ids, scores = client.match([fields], k=song.get("k", 10), exclude=[song.get("exclude")])
    found = [(str(one), score) for one, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if is_song(one)]
    return {"song_ids": [one for one, _ in found], "scores": [score for _, score in found]}


def read_songs(arguments: list[str]) -> list[dict[str, Any]]:
    """Returns the songs of the file that the command line names."""
    if len(arguments) != 1:
        raise ValueError(f"expected a file of songs. Received: {len(arguments)} arguments")
    songs = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    if not isinstance(songs, list) or not songs or not all(isinstance(song, dict) for song in songs):
        raise ValueError(f"{arguments[0]}: expected a list of songs. Received: {songs!r}")
    return songs


def main(arguments: list[str]) -> int:
    """Asks for each song of a file, and returns the exit code."""
    try:
        songs = read_songs(arguments)
        with connect() as client:
            for song in songs:
                sys.stdout.write(json.dumps(match(client, song), ensure_ascii=False) + "\n")
    except ServingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, ValueError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
