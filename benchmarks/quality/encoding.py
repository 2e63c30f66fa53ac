"""Features of all songs as arrays: ids for words, z-scores for numbers; and as unit blocks for rows in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

import bcl_keras
from bcl_keras.evaluation.content import inverse_document_frequency, z_scores
from benchmarks.targeting_study.datasets import DataSet, word_lists

LEAST_SONGS = 2  # a word of fewer warm songs is not a feature that songs share


@dataclass(frozen=True)
class Encoding:
    """Every song's features, and how many values each field knows.

    Attributes:
        fields: The fields as `bcl_keras` takes them.
        features: Field name to (n,), (n, L) or (n, size) array; 0 and NaN are missing.
        idf: Field name to weights of its ids, for fields of words.
    """

    fields: tuple[bcl_keras.Field, ...]
    features: Mapping[str, np.ndarray]
    idf: Mapping[str, np.ndarray]

    def without(self, names: frozenset[str]) -> Encoding:
        """Returns the same with fields missing for every song."""
        empty = {
            name: np.zeros_like(v) if v.dtype.kind == "i" else np.full_like(v, np.nan) for name, v in self._of(names)
        }
        return replace(self, features={**self.features, **empty})

    def _of(self, names: frozenset[str]) -> list[tuple[str, np.ndarray]]:
        return [(name, self.features[name]) for name in names]

    def rows(self, songs: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of some songs."""
        return {name: values[songs] for name, values in self.features.items()}

    def blocks(self, songs: np.ndarray) -> dict[str, sparse.csr_matrix]:
        """Returns unit rows of each field of words, and of all numbers of a group together; zeros where absent."""
        words = {field.name: _words(self, field, songs) for field in self.fields if field.is_categorical}
        return words | {f"{group} numbers": _numbers(self, group, songs) for group in self._groups_of_numbers()}

    def _groups_of_numbers(self) -> list[str]:
        return sorted({field.name.split("_")[0] for field in self.fields if not field.is_categorical})


def encode(data: DataSet, warm: np.ndarray) -> Encoding:
    """Learns words, scales and idf on warm songs and encodes all songs."""
    fields, features, idf = [], {}, {}
    for field in data.fields:
        column = data.features[field.name]
        if field.is_categorical:
            ids, weights = _ids(word_lists(column, field), warm)
            features[field.name] = ids if field.is_list else ids[:, 0]
            idf[field.name] = weights
            fields.append(bcl_keras.Field(field.name, field.kind, max(2, len(weights))))
        else:
            scaled = _scaled(column.to_pylist(), field.length, warm)
            features[field.name] = scaled if field.is_list else scaled[:, 0]
            fields.append(bcl_keras.Field(field.name, field.kind, field.length))
    return Encoding(tuple(fields), features, idf)


def _ids(lists: list[list[str]], warm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids from 1 on, commonest word first, so that a cut row keeps what others share; idf by id."""
    counts: dict[str, int] = {}
    for words, known in zip(lists, warm.tolist(), strict=True):
        for word in set(words) if known else ():
            counts[word] = counts.get(word, 0) + 1
    kept = sorted((w for w, n in counts.items() if n >= LEAST_SONGS), key=lambda w: (-counts[w], w))
    place = {word: index for index, word in enumerate(kept, start=1)}
    rows = [sorted({place[word] for word in words if word in place}) for words in lists]
    ids = np.zeros((len(rows), max(1, max(map(len, rows), default=1))), np.int32)
    for row, found in enumerate(rows):
        ids[row, : len(found)] = found
    idf = inverse_document_frequency(np.array([0, *(counts[word] for word in kept)], np.float64), warm.sum())
    return ids, idf.astype(np.float32)


def _scaled(values: list, length: int, warm: np.ndarray) -> np.ndarray:
    empty = [np.nan] * length
    rows = np.array([empty if v is None else np.ravel(v) for v in values], np.float64)
    return np.clip(z_scores(rows, warm), -5, 5).astype(np.float32)


def _numbers(encoding: Encoding, group: str, songs: np.ndarray) -> sparse.csr_matrix:
    columns = [
        encoding.features[field.name][songs].reshape(len(songs), -1)
        for field in encoding.fields
        if not field.is_categorical and field.name.split("_")[0] == group
    ]
    return unit_rows(sparse.csr_matrix(np.nan_to_num(np.concatenate(columns, axis=1))))


def _words(encoding: Encoding, field: bcl_keras.Field, songs: np.ndarray) -> sparse.csr_matrix:
    ids = encoding.features[field.name][songs].reshape(len(songs), -1)
    row, place = np.nonzero(ids > 0)
    known = ids[row, place]
    idf = encoding.idf[field.name]
    return unit_rows(sparse.csr_matrix((idf[known], (row, known)), shape=(len(songs), len(idf))))


def unit_rows(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns the rows at length one; a row of zeros stays."""
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.where(norms > 0, norms, 1)) @ rows).tocsr().astype(np.float32)
