"""`python -m tfx_pipeline.datasets.lastfm hetrec2011-lastfm-2k.zip OUT`: the Last.fm-2K archive in the input contract.

The worked example of bringing public data. Source: HetRec 2011 workshop, GroupLens, non-commercial use. Its items are
artists, which stand here for songs. The fields, all from the archive:
- `attribute_tags`: tags that listeners gave, in lower case, the most given first; a tag counts where at least
  `min_tag_users` (1) gave it.
- `attribute_tag_words`: the words these tags are made of, so that "indie rock" and "rock" have something in common.
- `attribute_name_words`: words of the artist's name that at least `MIN_NAMES` names share ("orchestra", "dj", "los").
- `attribute_script`: the alphabet of the name (latin, cyrillic, cjk ...).
plays.parquet has the listening counts. Times of tags and friendships are left out: they describe listeners, not songs.
sources.json says who wrote each field (`tfx_pipeline.datasets.sources`).

Of the users who gave a tag to an artist, two in five listen to that artist in the same archive. So tags tell a part of
what a study holds out. `tags="strangers"` leaves out what an artist's own listeners gave. `--strangers OUT2` writes
that form as well; figures on it are the honest ones.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tfx_pipeline.contract import Catalogue, check
from tfx_pipeline.contract.errors import broken
from tfx_pipeline.contract.folder import check_replaceable, new_folder
from tfx_pipeline.contract.ids import SONG_ID, USER_ID
from tfx_pipeline.datasets.sources import Source, write_sources
from tfx_pipeline.runtime.stopping import stop_on_signals

Tags = Literal["all", "strangers"]
TAGS: tuple[Tags, ...] = ("all", "strangers")
MIN_NAMES = 5
MARK = "SOURCE.txt"
TAG_FIELD = "attribute_tags"
SOURCES_OF_FIELDS = {
    TAG_FIELD: Source("listeners"),
    "attribute_tag_words": Source(derived_from=(TAG_FIELD,)),
    "attribute_name_words": Source("label"),
    "attribute_script": Source("label"),
}
_HEADERS = {
    "artists.dat": ("id", "name", "url", "pictureURL"),
    "tags.dat": ("tagID", "tagValue"),
    "user_artists.dat": ("userID", "artistID", "weight"),
    "user_taggedartists.dat": ("userID", "artistID", "tagID", "day", "month", "year"),
}
_WORD = re.compile(r"[^\W_]+")


def convert(
    archive: Path | str, out: Path | str, *, min_tag_users: int = 1, tags: Tags = "all", more: Path | str | None = None
) -> Catalogue:
    """Writes the archive as a folder in the input contract, whole or not at all.

    Args:
        archive: File hetrec2011-lastfm-2k.zip as downloaded.
        out: The folder: new, empty, or written by an earlier call.
        min_tag_users: How many users must have given a tag to an artist for it to count; 1 by default.
        tags: Whose tags count: of all users, or of strangers, who do not listen to the artist.
        more: A folder in the input contract with more fields of the same artists, such as audio. They stand in place
            of the words of tags and names; its tags are left out. Defaults to none.

    Raises:
        ContractError: The archive is another one or damaged, `out` holds something else, or `more` has other artists.
        ValueError: `min_tag_users` is below 1, or `tags` is none of `TAGS`.
    """
    if min_tag_users < 1:
        raise ValueError(f"`min_tag_users` must be at least 1. Received: {min_tag_users}.")
    if tags not in TAGS:
        raise ValueError(f"`tags` must be one of {list(TAGS)}. Received: {tags!r}.")
    archive, out = Path(archive), Path(out)
    check_replaceable(out, MARK)
    songs, plays, sources = _read(archive, min_tag_users, tags)
    if more:
        songs, sources = _with_fields(songs.select([SONG_ID, "title", TAG_FIELD]), Path(more))
    with new_folder(out, MARK) as aside:
        pq.write_table(songs, aside / "songs.parquet")
        pq.write_table(plays, aside / "plays.parquet")
        write_sources(aside, sources)
        whose = "" if tags == "all" else " who do not listen to the artist"
        given = f"tags given by at least {min_tag_users} users{whose}"
        (aside / MARK).write_text(f"{archive.name}, {given}\n", encoding="utf-8")
        check(aside, max_unknown_plays=0)
    return check(out, max_unknown_plays=0)


def _read(archive: Path, min_tag_users: int, tags: Tags) -> tuple[pa.Table, pa.Table, dict[str, Source]]:
    if not archive.is_file():
        raise broken(archive, "the archive hetrec2011-lastfm-2k.zip", "no such file")
    try:
        with zipfile.ZipFile(archive) as opened:
            artists = [cells[:2] for cells in _rows(opened, archive, "artists.dat")]
            plays = _plays(opened, archive, {artist for artist, _ in artists})
            own = set(zip(*(plays.column(name).to_pylist() for name in (USER_ID, SONG_ID)), strict=True))
            given = _tags(opened, archive, min_tag_users, own if tags == "strangers" else set())
            return _songs(artists, given), plays, SOURCES_OF_FIELDS
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise broken(archive, "an undamaged zip archive", error) from error


def _with_fields(songs: pa.Table, more: Path) -> tuple[pa.Table, dict[str, Source]]:
    """Returns the songs with the fields of another folder but its tags, and who wrote them as far as that is known."""
    check(more)
    others = pq.read_table(more / "songs.parquet")
    known = {SONG_ID, "title", TAG_FIELD, *SOURCES_OF_FIELDS}
    place = {song: row for row, song in enumerate(others.column(SONG_ID).to_pylist())}
    ids = songs.column(SONG_ID).to_pylist()
    if missing := [song for song in ids if song not in place]:
        raise broken(more / "songs.parquet", "the artists of the archive", f"none of the id {missing[0]}")
    rows = others.take([place[song] for song in ids])
    for name in [name for name in others.column_names if name not in known]:
        songs = songs.append_column(name, rows.column(name))
    sources = {TAG_FIELD: SOURCES_OF_FIELDS[TAG_FIELD]}
    for name in songs.column_names[len(known & set(songs.column_names)) :]:
        sources[name] = Source("machine" if name.startswith("audio_") else "editors" if "facts" in name else "label")
    return songs, sources


def _rows(opened: zipfile.ZipFile, archive: Path, name: str) -> Iterator[list[str]]:
    """Yields the cells of each line of a .dat file, its header checked."""
    members = [member for member in opened.namelist() if PurePosixPath(member).name == name]
    if len(members) != 1:
        received = ", ".join(sorted(opened.namelist())[:8]) or "an empty archive"
        raise broken(archive, f"one file {name} in the archive", received)
    header = list(_HEADERS[name])
    lines = [line.rstrip("\r") for line in _decoded(opened.read(members[0])).split("\n")]
    if lines[0].split("\t") != header:
        raise broken(f"{archive}:{name}", f"the header {' '.join(header)}", repr(lines[0][:80]))
    for row, line in enumerate(lines[1:]):
        cells = line.split("\t")
        if line and len(cells) != len(header):
            raise broken(f"{archive}:{name}", f"{len(header)} cells", f"{len(cells)} in {line[:80]!r}", row=row)
        if line:
            yield cells


def _decoded(data: bytes) -> str:
    """Returns the text: UTF-8 where the whole file is, else Latin-1, as tags.dat is."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _songs(artists: list[list[str]], tags: dict[str, list[str]]) -> pa.Table:
    names = [_words(name) for _, name in artists]
    frequent = {word for word, count in Counter(w for words in names for w in words).items() if count >= MIN_NAMES}
    columns = {
        SONG_ID: [artist for artist, _ in artists],
        "title": [name for _, name in artists],
        TAG_FIELD: [tags.get(artist) for artist, _ in artists],
        "attribute_tag_words": [_words(*tags.get(artist, ())) or None for artist, _ in artists],
        "attribute_name_words": [[word for word in words if word in frequent] or None for words in names],
        "attribute_script": [_script(name) for _, name in artists],
    }
    lists = pa.list_(pa.string())
    return pa.table(
        {name: pa.array(column, lists if name.endswith("s") else pa.string()) for name, column in columns.items()}
    )


def _tags(
    opened: zipfile.ZipFile, archive: Path, min_tag_users: int, own: set[tuple[str, str]]
) -> dict[str, list[str]]:
    """Returns the tags of each artist, the most given first, then by name; those of pairs in `own` do not count."""
    values = dict(_rows(opened, archive, "tags.dat"))
    given: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, (user, artist, tag, *_) in enumerate(_rows(opened, archive, "user_taggedartists.dat")):
        if tag not in values:
            place = f"{archive}:user_taggedartists.dat"
            raise broken(place, "a tag that tags.dat has", tag, column="tagID", row=row)
        if (user, artist) not in own:
            given[artist][values[tag].strip().lower()] += 1
    kept = {
        artist: [
            tag for tag, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if count >= min_tag_users
        ]
        for artist, counts in given.items()
    }
    return {artist: tags for artist, tags in kept.items() if tags}


def _plays(opened: zipfile.ZipFile, archive: Path, known: set[str]) -> pa.Table:
    place = f"{archive}:user_artists.dat"
    users, songs, counts = [], [], []
    for row, (user, song, weight) in enumerate(_rows(opened, archive, "user_artists.dat")):
        if not weight.isdecimal():
            raise broken(place, "a whole number", repr(weight), column="weight", row=row)
        if song not in known:
            raise broken(place, "an artist that artists.dat has", song, column="artistID", row=row)
        users.append(user)
        songs.append(song)
        counts.append(int(weight))
    return pa.table({USER_ID: users, SONG_ID: songs, "plays": pa.array(counts, pa.int64())})


def _words(*texts: str) -> list[str]:
    """Returns the distinct words, in lower case, in the order of their first place."""
    return list(dict.fromkeys(word for text in texts for word in _WORD.findall(text.lower())))


def _script(name: str) -> str | None:
    """Returns the script of most letters, by the first word of their Unicode names; None without letters."""
    scripts = _letters(name)
    return Counter(scripts).most_common(1)[0][0] if scripts else None


def _letters(name: Iterable[str]) -> list[str]:
    return [unicodedata.name(letter, "other").split(" ")[0].lower() for letter in name if letter.isalpha()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts the archive. Returns 0, or 2 with one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m tfx_pipeline.datasets.lastfm",
        description="Write the Last.fm-2K archive as songs.parquet and plays.parquet.",
    )
    parser.add_argument("archive", help="the archive as downloaded, hetrec2011-lastfm-2k.zip")
    parser.add_argument("out", help="folder to write songs.parquet and plays.parquet into")
    parser.add_argument(
        "--min-tag-users",
        type=int,
        default=1,
        help="number of users who must have given a tag to an artist for it to count (default: %(default)s)",
    )
    parser.add_argument(
        "--strangers",
        metavar="OUT2",
        help="second folder to write: the same without the tags that an artist's own listeners gave (default: none)",
    )
    parser.add_argument(
        "--more",
        metavar="DIR",
        help="folder with more fields of the same artists, which stand in place of the words (default: none)",
    )
    options = parser.parse_args(arguments)
    folders: list[tuple[str, Tags]] = [(options.out, "all")]
    folders += [(options.strangers, "strangers")] if options.strangers else []
    try:
        for out, tags in folders:
            found = convert(options.archive, out, min_tag_users=options.min_tag_users, tags=tags, more=options.more)
            counts = f"{found.num_songs:,} artists, {found.num_users:,} users, {found.num_plays:,} plays"
            sys.stdout.write(f"{out}: {counts}\n")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    stop_on_signals("Nothing was written.")
    sys.exit(main())
