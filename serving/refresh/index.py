"""Which songs the index of a served model gains and loses, without training."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from serving.files.whole_files import replace_folder
from serving.refresh.saved_version import RefreshError, SavedIndex, SavedVersion, read_index, write_version
from serving.savedmodel.publish import latest_version, next_version

#: Songs that a model embeds at once.
SONGS_AT_ONCE = 512


@dataclass(frozen=True)
class Changes:
    """What a refresh does.

    Attributes:
        added: Ids of the songs that come.
        dropped: Ids of the songs that go.
        kept: How many stay.
        unknown: Ids of those added of which the model knows no field: they are all embedded alike. Empty where the
            model does not say.
    """

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: int
    unknown: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped)


def refreshed_index(
    version: SavedVersion,
    songs: Iterable[tuple[str, bytes]],
    *,
    drop: Collection[str] = (),
    is_catalogue: bool = False,
    max_dropped: float = 0.2,
) -> tuple[SavedIndex, Changes]:
    """Embeds the songs that the index lacks, and leaves out those that have gone.

    Args:
        version: The served model.
        songs: (id, serialized tf.Example) of songs; those in the index are ignored.
        drop: Ids of songs to drop; they are not added either.
        is_catalogue: Whether `songs` are all there are, so that the others in the index are dropped.
        max_dropped: The largest share of the index that `is_catalogue` may drop: a file that is cut short, or holds
            only the new songs, must not empty the index.

    Returns:
        The new index, and what has changed.

    Raises:
        RefreshError: If nothing would be left, too much would be dropped, or a song cannot be embedded.
        ValueError: If an id is no integer where the index has integers.
    """
    names, drop = version.index.names(), frozenset(drop)
    seen: set[str] = set()
    new_ids, rows, unknown = _embed_new(version, songs, known=set(names), skip=drop, seen=seen)
    stays = np.array([name not in drop and (not is_catalogue or name in seen) for name in names], bool)
    absent = sum(name not in seen and name not in drop for name in names) if is_catalogue else 0
    if absent > max_dropped * len(names):
        raise RefreshError(
            f"index: expected a catalogue that lacks at most {max_dropped:.0%} of its {len(names)} songs "
            f"(`max_dropped`). Received: one that lacks {absent} of them"
        )
    index = version.index.with_changes(stays, new_ids, rows)
    if not len(index.ids):
        raise RefreshError(f"index: expected at least one song to be left. Received: {len(names)} songs to drop")
    dropped = tuple(name for name, kept in zip(names, stays, strict=True) if not kept)
    return index, Changes(tuple(new_ids), dropped, int(stays.sum()), tuple(unknown))


def drop_songs(saved_model: str, gone: Collection[str]) -> None:
    """Drops songs from the index of a model that nobody serves yet, in its place.

    Args:
        saved_model: Folder of the model.
        gone: Ids of the songs; those that the index lacks are ignored.

    Raises:
        RefreshError: If the model has no index, or nothing would be left.
    """
    with SavedVersion(saved_model) as version:
        index, changes = refreshed_index(version, (), drop=gone)
    if changes:
        aside = f"{saved_model.rstrip(os.sep)}.dropping"
        write_version(saved_model, aside, index)
        replace_folder(aside, saved_model)


def publish_without(base: str, gone: Collection[str]) -> str | None:
    """Publishes the next version of a served model without these songs, if the latest one has any of them.

    Args:
        base: Folder of the model's versions.
        gone: Ids of the songs.

    Returns:
        Folder of the new version; None where none was needed.

    Raises:
        PublishError: If there is no version yet, or another publication is under way.
        RefreshError: If the model has no index, or nothing would be left.
    """
    if not frozenset(read_index(latest_version(base)[1]).names()) & frozenset(gone):
        return None
    with next_version(base) as publication:
        with SavedVersion(publication.latest) as version:
            index, changes = refreshed_index(version, (), drop=gone)
        if changes:
            write_version(publication.latest, publication.staging, index)
    return publication.published


def _embed_new(
    version: SavedVersion,
    songs: Iterable[tuple[str, bytes]],
    *,
    known: Collection[str],
    skip: Collection[str],
    seen: set[str],
) -> tuple[list[str], np.ndarray[Any, Any], list[str]]:
    """Returns ids and embeddings of songs that are neither known nor to be skipped; notes every id in `seen`.

    The third result has the ids of songs of which the model knows no field.
    """

    def new() -> Iterator[tuple[str, bytes]]:
        for song_id, example in songs:
            if song_id in seen:
                raise RefreshError(f"songs: expected each song once. Received: {song_id!r} twice")
            seen.add(song_id)
            if song_id not in known and song_id not in skip:
                yield song_id, example

    pending, ids, unknown = new(), [], []
    rows = [np.zeros((0, version.index.embeddings.shape[1]), np.float32)]
    while batch := list(islice(pending, SONGS_AT_ONCE)):
        embeddings, known_fields = version.embed([example for _, example in batch])
        rows.append(embeddings)
        ids += [song_id for song_id, _ in batch]
        if not np.isfinite(embeddings).all():
            song_id = batch[int((~np.isfinite(embeddings)).any(axis=1).argmax())][0]
            raise RefreshError(f"song {song_id!r}: expected an embedding of finite numbers. Received: NaN or infinity")
        if known_fields is not None:
            unknown += [song_id for (song_id, _), count in zip(batch, known_fields, strict=True) if not count]
    return ids, np.concatenate(rows), unknown
