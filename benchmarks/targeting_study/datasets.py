"""Data sets in the input contract as sparse matrices: who plays what, and what is known of each song."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from bcl_keras.evaluation.content import inverse_document_frequency, z_scores
from tfx_pipeline.contract import PLAYS, SONGS, SongField, prepare
from tfx_pipeline.contract.ids import id_array
from tfx_pipeline.contract.splits import unit_hash

#: Weight of each block of content that has not 1: probes on Last.fm-2K chose them.
FIELD_WEIGHTS = {"attribute_genres": 0.5, "attribute_facts": 0.3, "audio_key": 0.05}
NUMBER_WEIGHT = 0.2
TOP_SHARE = 0.75


@dataclass(frozen=True)
class DataSet:
    """One folder of the input contract.

    Attributes:
        name: Of the folder.
        songs: (n,) sorted ids.
        users: (m,) sorted ids.
        plays: (n, m) int64, plays of each song by each user.
        red: (n, m) bool, plays that the user liked or that are in the user's upper quartile; None where the data tells
            neither.
        features: Song columns, rows in the order of `songs`.
        fields: Their kinds.
        folder: Where it lies.
    """

    name: str
    songs: np.ndarray
    users: np.ndarray
    plays: sparse.csr_matrix
    red: sparse.csr_matrix | None
    features: pa.Table
    fields: tuple[SongField, ...]
    folder: Path


def read_data_set(folder: Path) -> DataSet:
    """Checks a folder against the contract and reads it."""
    with tempfile.TemporaryDirectory() as aside:
        catalogue = prepare(folder, Path(aside) / "input")
        features = pq.read_table(Path(aside) / "input" / SONGS)
        table = pq.read_table(Path(aside) / "input" / PLAYS)
    features = features.take(pc.sort_indices(features["song_id"].cast(pa.binary())))
    songs = id_array(features["song_id"])
    users, user = np.unique(id_array(table["user_id"]), return_inverse=True)
    song = np.searchsorted(songs, id_array(table["song_id"]))
    shape = (len(songs), len(users))
    plays = sparse.csr_matrix((table["plays"].to_numpy(), (song, user)), shape=shape)
    red = None
    if "liked" in table.column_names:
        red = sparse.csr_matrix((table["liked"].to_numpy() > 0, (song, user)), shape=shape)
        red.eliminate_zeros()
    elif plays.max() > 1:
        red = _favourites(plays)
    return DataSet(Path(folder).name, songs, users, plays, red, features, catalogue.fields, folder)


def drawn(data: DataSet, most: int, least_listeners: int) -> DataSet:
    """Returns a data set of at most `most` of the songs that have enough listeners, drawn by hash, and their listeners.

    Of the songs with fewer listeners the same share is drawn. The order of the draw depends on the songs' ids alone.
    The name says how many songs were asked for.
    """
    listeners = np.diff(data.plays.indptr)
    order = np.argsort([unit_hash(song, "drawn songs") for song in data.songs.tolist()])
    enough, fewer = listeners[order] >= least_listeners, (listeners[order] > 0) & (listeners[order] < least_listeners)
    share = min(1.0, most / max(1, int(enough.sum())))
    songs = np.sort(np.concatenate([order[enough][:most], order[fewer][: int(share * fewer.sum())]]))
    part = of_songs(data, songs)
    users = np.flatnonzero(np.diff(part.plays.tocsc().indptr))
    return replace(
        part,
        name=f"{data.name}-{most}",
        users=data.users[users],
        plays=part.plays[:, users].tocsr(),
        red=None if part.red is None else part.red[:, users].tocsr(),
    )


def of_songs(data: DataSet, songs: np.ndarray) -> DataSet:
    """Returns the data set of some songs, given by their sorted rows; all users stay."""
    return replace(
        data,
        songs=data.songs[songs],
        plays=data.plays[songs].tocsr(),
        red=None if data.red is None else data.red[songs].tocsr(),
        features=data.features.take(songs),
    )


def content_matrix(data: DataSet, warm: np.ndarray) -> sparse.csr_matrix:
    """Joined content of all songs, (n, p); what is learnt about values is learnt on warm songs.

    Sets are tf-idf rows of length one, a category is one-hot, vectors and all numbers together are z-scores divided by
    the square root of their number.
    """
    blocks, numbers = [], []
    for field in data.fields:
        column = data.features[field.name]
        weight = FIELD_WEIGHTS.get(field.name, 1.0)
        if field.is_categorical:
            blocks.append(weight * _words(word_lists(column, field), warm, tf_idf=field.is_list))
        elif field.is_list:
            rows = [value or [np.nan] * field.length for value in column.to_pylist()]
            blocks.append(sparse.csr_matrix(weight * _z_scores(np.array(rows, np.float64), warm)))
        else:
            numbers.append(_z_scores(column.to_numpy()[:, None], warm))
    if numbers:
        joined = np.concatenate(numbers, axis=1) / np.sqrt(len(numbers))
        blocks.append(sparse.csr_matrix(NUMBER_WEIGHT * joined))
    return sparse.hstack(blocks).tocsr()


def word_lists(column: pa.ChunkedArray, field: SongField) -> list[list[str]]:
    """Returns the words of each song in a field of words; an empty list where it has none."""
    return [(value if field.is_list else [value]) if value else [] for value in column.to_pylist()]


def _favourites(plays: sparse.csr_matrix) -> sparse.csr_matrix:
    """Marks the plays in the upper quartile of their user's plays; users of fewer than 4 songs have none."""
    by_user = plays.T.tocsr()
    marks = np.zeros(by_user.nnz, bool)
    for start, stop in zip(by_user.indptr[:-1], by_user.indptr[1:], strict=True):
        if stop - start >= 4:
            marks[start:stop] = by_user.data[start:stop] > np.quantile(by_user.data[start:stop], TOP_SHARE)
    marked = sparse.csr_matrix((marks, by_user.indices, by_user.indptr), shape=by_user.shape).T.tocsr()
    marked.eliminate_zeros()
    return marked


def _words(lists: list[list[str]], warm: np.ndarray, *, tf_idf: bool) -> sparse.csr_matrix:
    row = np.repeat(np.arange(len(lists)), [len(words) for words in lists])
    vocabulary, word = np.unique(np.array([word for words in lists for word in words], object), return_inverse=True)
    found = sparse.csr_matrix((np.ones(len(row)), (row, word)), shape=(len(lists), len(vocabulary)))
    found.data[:] = 1.0
    if not tf_idf:
        return found
    weighted = found @ sparse.diags(inverse_document_frequency(found[warm].sum(axis=0).A1, warm.sum()))
    norms = np.sqrt(weighted.multiply(weighted).sum(axis=1).A1)
    return (sparse.diags(1 / np.where(norms > 0, norms, 1)) @ weighted).tocsr()


def _z_scores(values: np.ndarray, warm: np.ndarray) -> np.ndarray:
    return np.nan_to_num(z_scores(values, warm)) / np.sqrt(values.shape[1])
