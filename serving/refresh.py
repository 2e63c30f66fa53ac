"""A served model with other songs in its index, made without training.

The graph is copied byte for byte; in a copy of the checkpoint the two variables of the index get other values. So
towers, transform, signatures and the rows of songs that stay are exactly those of the version it was made from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow as tf

from serving.raw_fields import RawField, fields_of, integer_id
from serving.server.servable import Servable
from serving.server.session import SavedModelSession
from serving.server.warmup import warm_up

#: The index in the checkpoint of an exported model: `ServedModel.index` and the variables of `SongIndex`.
IDS_KEY = "index/_identifiers/.ATTRIBUTES/VARIABLE_VALUE"
EMBEDDINGS_KEY = "index/_candidates/.ATTRIBUTES/VARIABLE_VALUE"
_BATCH = 512
_NEEDED = ("candidate", "embed")


class RefreshError(ValueError):
    """The index cannot be refreshed as asked; nothing was written."""


@dataclass(frozen=True)
class SavedIndex:
    """The songs of an index, in its order.

    Attributes:
        ids: `(n,)` object array of bytes, or int64.
        embeddings: `(n, d)` float32.
    """

    ids: np.ndarray
    embeddings: np.ndarray

    @property
    def has_integer_ids(self) -> bool:
        return self.ids.dtype == np.int64

    def names(self) -> list[str]:
        """Returns the ids as text, as songs.parquet has them."""
        return [str(i) if self.has_integer_ids else i.decode() for i in self.ids.tolist()]

    def with_changes(self, kept: np.ndarray, new_ids: list[str], new_embeddings: np.ndarray) -> SavedIndex:
        """Returns the rows where `kept` is true, followed by new ones."""
        ids = np.empty(len(new_ids), self.ids.dtype)
        ids[:] = [integer_id(i) if self.has_integer_ids else i.encode() for i in new_ids]
        return SavedIndex(
            np.concatenate([self.ids[kept], ids]), np.concatenate([self.embeddings[kept], new_embeddings])
        )


@dataclass(frozen=True)
class Changes:
    """What a refresh does: ids of songs that come and go, and how many stay."""

    added: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: int

    def __bool__(self) -> bool:
        return bool(self.added or self.dropped)


class SavedVersion:
    """An exported model, opened to read its index and to embed songs as candidates.

    Args:
        path: Folder of the SavedModel.

    Attributes:
        fields: The raw fields of a song.
        index: The songs of its index.

    Raises:
        RequestError: If the model cannot be loaded.
        RefreshError: If it has no index that can be refreshed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.index = _read_index(path)
        self._session = SavedModelSession(path)
        signatures = self._session.signatures
        if missing := [name for name in _NEEDED if name not in signatures]:
            self.close()
            raise RefreshError(f"{path}: expected the signatures {_NEEDED}. Received: a model without {missing}")
        self.fields: tuple[RawField, ...] = fields_of(signatures["embed"])
        self._examples = signatures["candidate"].inputs["examples"].name
        self._embedding = signatures["candidate"].outputs["embedding"].name

    def embed(self, examples: list[bytes]) -> np.ndarray:
        """Embeds serialized songs as the index has them, `(n, d)` float32.

        Raises:
            RequestError: If TensorFlow cannot read an example.
        """
        column = np.empty(len(examples), object)
        column[:] = examples
        return self._session.run([(self._examples, column)], [self._embedding])[0]

    def close(self) -> None:
        """Frees the model."""
        self._session.close()

    def __enter__(self) -> SavedVersion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checkpoint(saved_model: str) -> str:
    return os.path.join(saved_model, "variables", "variables")


def _read_index(saved_model: str) -> SavedIndex:
    try:
        reader = tf.train.load_checkpoint(_checkpoint(saved_model))
    except (tf.errors.OpError, ValueError) as error:
        raise RefreshError(f"{saved_model}: expected a model with readable variables. Received: {error}") from error
    if not reader.has_tensor(IDS_KEY) or not reader.has_tensor(EMBEDDINGS_KEY):
        raise RefreshError(
            f"{saved_model}: expected a model with an index of songs, as `serving.export` writes it. "
            "Received: a model without one"
        )
    return SavedIndex(reader.get_tensor(IDS_KEY), reader.get_tensor(EMBEDDINGS_KEY))


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
        songs: (id, serialized tf.Example) of songs; those that the index has are passed over.
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
    new_ids, rows = _embed_new(version, songs, known=set(names), skip=drop, seen=seen)
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
    return index, Changes(tuple(new_ids), dropped, int(stays.sum()))


def _embed_new(
    version: SavedVersion,
    songs: Iterable[tuple[str, bytes]],
    *,
    known: Collection[str],
    skip: Collection[str],
    seen: set[str],
) -> tuple[list[str], np.ndarray]:
    """Returns ids and embeddings of songs that are neither known nor to be skipped; notes every id in `seen`."""

    def unknown() -> Iterator[tuple[str, bytes]]:
        for song_id, example in songs:
            if song_id in seen:
                raise RefreshError(f"songs: expected each song once. Received: {song_id!r} twice")
            seen.add(song_id)
            if song_id not in known and song_id not in skip:
                yield song_id, example

    pending, ids = unknown(), []
    rows = [np.zeros((0, version.index.embeddings.shape[1]), np.float32)]
    while batch := list(islice(pending, _BATCH)):
        rows.append(version.embed([example for _, example in batch]))
        ids += [song_id for song_id, _ in batch]
        if not np.isfinite(rows[-1]).all():
            song_id = batch[int((~np.isfinite(rows[-1])).any(axis=1).argmax())][0]
            raise RefreshError(f"song {song_id!r}: expected an embedding of finite numbers. Received: NaN or infinity")
    return ids, np.concatenate(rows)


def write_version(saved_model: str, out: str, index: SavedIndex) -> None:
    """Writes a copy of a SavedModel with another index, and checks that it loads and answers its warm-up requests.

    Args:
        saved_model: The version to copy.
        out: The folder to write, which must not exist. It is complete only when this returns.
        index: The songs of the new index.

    Raises:
        RequestError: If what was written does not answer.
    """
    # The fingerprint holds a hash of the checkpoint, which would be wrong; nothing needs it.
    shutil.copytree(saved_model, out, ignore=shutil.ignore_patterns("variables", "fingerprint.pb"))
    reader = tf.train.load_checkpoint(_checkpoint(saved_model))
    changed = {IDS_KEY: index.ids, EMBEDDINGS_KEY: index.embeddings}
    types = sorted(reader.get_variable_to_dtype_map().items())
    tf.raw_ops.SaveV2(
        prefix=_checkpoint(out),
        tensor_names=[name for name, _ in types],
        shape_and_slices=[""] * len(types),
        tensors=[tf.constant(changed.get(name, reader.get_tensor(name)), dtype) for name, dtype in types],
    )
    servable = Servable("refresh", SavedModelSession(out))
    try:
        warm_up(servable, out, version=0)
    finally:
        servable.close()
