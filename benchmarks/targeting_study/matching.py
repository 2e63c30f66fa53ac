"""Embeddings for the benchmark: a two-tower in closed form, or those that a pipeline run exported.

Closed form: kernel ridge from content to the audience similarity of warm songs, S = R^T R with the columns of the plays
R of length one. With R = U D V^T cut to a rank, score(c, j) = x_c X_w^T (X_w X_w^T + ridge I)^-1 V D^2 V_j^T: a linear
query tower times one vector per warm song.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from benchmarks.splits import LAST, split_of
from benchmarks.targeting_study.datasets import DataSet, content_matrix
from tfx_pipeline.contract.ids import id_array, texts
from tfx_pipeline.contract.splits import NEW, WARM

RANK, RIDGE, MATCHES = 128, 2.0, 200
_TOLERANCE, _STEPS = 1e-4, 100


@dataclass(frozen=True)
class Embeddings:
    """One split of a data set, its vectors and matches.

    Attributes:
        split: (n,) str of every song.
        query: (n, d) float32, vector of each song from content alone; zeros where there is none.
        candidate: (n, d) float32, vector of each warm song.
        matches: Arrow table song_id, match_ids, match_scores of the cold songs.
    """

    split: np.ndarray
    query: np.ndarray
    candidate: np.ndarray
    matches: pa.Table


def closed_form(data: DataSet, seed: int) -> Embeddings:
    """Splits the songs as every study does and solves for the two towers.

    Songs of the last tenth are new ones here: nobody looks at their plays.
    """
    split = split_of(data.songs.tolist(), np.diff(data.plays.indptr), seed)
    split[split == LAST] = NEW
    warm = split == WARM
    content = content_matrix(data, warm)
    played = (data.plays[warm] > 0).astype(np.float64)
    played = sparse.diags(1 / np.sqrt(played.sum(axis=1).A1)) @ played
    factors, sizes, _ = randomized_svd(played, RANK, n_iter=4, random_state=seed)
    factors = factors * sizes
    solved = _solve(content[warm], factors)
    query = (content @ (content[warm].T @ solved)).astype(np.float32)
    candidate = np.zeros_like(query)
    candidate[warm] = factors
    return Embeddings(split, query, candidate, best_matches(data.songs, split, query, candidate))


def exported(data: DataSet, folder: Path) -> Embeddings:
    """Reads what `CatalogueEmbedder` wrote: embeddings-*.parquet and matches-*.parquet."""
    table = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("embeddings-*.parquet"))])
    place = np.searchsorted(data.songs, id_array(table["song_id"]))
    split = np.full(len(data.songs), "new", dtype="<U8")
    split[place] = table["split"].to_pylist()
    vectors = {}
    for name in ("embedding", "candidate_embedding"):
        rows = np.stack([np.asarray(value, np.float32) for value in table[name].to_numpy()])
        vectors[name] = np.zeros((len(data.songs), rows.shape[1]), np.float32)
        vectors[name][place] = rows
    matches = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("matches-*.parquet"))])
    return Embeddings(split, vectors["embedding"], vectors["candidate_embedding"], matches)


def best_matches(songs: np.ndarray, split: np.ndarray, query: np.ndarray, candidate: np.ndarray) -> pa.Table:
    """The `MATCHES` warm songs of largest inner product for each song of split `val`, `test` and `new`."""
    warm = np.flatnonzero(split == WARM)
    cold = np.flatnonzero(np.isin(split, ("val", "test", "new")))
    names = np.array(texts(songs[warm]), object)
    ids, scores = [], []
    for rows in np.array_split(cold, max(1, len(cold) // 500)):
        score = query[rows] @ candidate[warm].T
        best = np.argpartition(-score, min(MATCHES, len(warm) - 1), axis=1)[:, :MATCHES]
        ids += [names[row].tolist() for row in best]
        scores += np.take_along_axis(score, best, axis=1).tolist()
    columns = {"song_id": texts(songs[cold]), "match_ids": ids, "match_scores": scores}
    kinds = [("song_id", pa.string()), ("match_ids", pa.list_(pa.string())), ("match_scores", pa.list_(pa.float32()))]
    return pa.table(columns, schema=pa.schema(kinds))


def _solve(content: sparse.csr_matrix, targets: np.ndarray) -> np.ndarray:
    """(X X^T + ridge I)^-1 targets by conjugate gradients, all columns at once, without the kernel in memory."""
    transposed = content.T.tocsr()

    def kernel(values: np.ndarray) -> np.ndarray:
        return content @ (transposed @ values) + RIDGE * values

    solution = np.zeros_like(targets)
    residual = targets.copy()
    direction = residual.copy()
    size = np.einsum("nr,nr->r", residual, residual)
    stop = _TOLERANCE**2 * size.max()
    for _ in range(_STEPS):
        image = kernel(direction)
        step = size / np.maximum(np.einsum("nr,nr->r", direction, image), 1e-300)
        solution += step * direction
        residual -= step * image
        before, size = size, np.einsum("nr,nr->r", residual, residual)
        if size.max() < stop:
            break
        direction = residual + size / np.maximum(before, 1e-300) * direction
    return solution
