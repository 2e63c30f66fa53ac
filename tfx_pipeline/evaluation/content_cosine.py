"""Content cosine, the row that needs no training: its weights are chosen on validation songs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from bcl_keras.evaluation.choices import choose_weights
from bcl_keras.evaluation.content import inverse_document_frequency
from bcl_keras.fields import Array
from tfx_pipeline.contract import SongField
from tfx_pipeline.models.song_table import SongTable

#: Weights tried for each block of content.
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_MAX_DIM = 200


@dataclass(frozen=True)
class ContentCosine:
    """Scores warm songs for a cold one by the weighted sum of cosines over blocks of content.

    A block is a category (1 for the same value), a multi-valued category (tf-idf, reduced to 200 dimensions by a
    truncated SVD: latent semantic analysis), or all numbers and vectors of a group (z-scores, missing = 0).

    Attributes:
        blocks: Unit vectors `(n, d)` of all songs of the table, dense or sparse, by block.
        weights: Weight by block.
    """

    blocks: Mapping[str, Array | sparse.csr_matrix]
    weights: Mapping[str, float]

    @classmethod
    def fit(cls, table: SongTable, fields: Sequence[SongField], warm: Array, *, seed: int = 0) -> ContentCosine:
        """Fits idf and the decomposition on warm songs.

        Args:
            table: All songs.
            fields: The song fields.
            warm: `(n,)` bool, which songs of the table to learn from.
            seed: Of the randomised decomposition.

        Returns:
            All blocks with weight 1.
        """
        blocks: dict[str, Array | sparse.csr_matrix] = {}
        for field in (field for field in fields if field.is_categorical):
            block = _tf_idf(table.features[field.name], warm)
            blocks[field.name] = _reduce(block, warm, seed) if field.is_list else block
        for group in sorted({field.group for field in fields if not field.is_categorical}):
            columns = [
                table.features[field.name].reshape(len(table), -1)
                for field in fields
                if field.group == group and not field.is_categorical
            ]
            blocks[f"{group} numbers"] = normalize(np.nan_to_num(np.concatenate(columns, axis=1)))
        return cls(blocks, dict.fromkeys(blocks, 1.0))

    def choose_weights(self, queries: Array, candidates: Array, quality: Callable[[Array], float]) -> ContentCosine:
        """Returns a copy with those of `WEIGHTS` whose scores are best (`bcl_keras.evaluation.choices`).

        Args:
            queries: Rows of the songs to choose on.
            candidates: Rows of the songs to score for them.
            quality: Of `(len(queries), len(candidates))` scores; more is better, such as recall.
        """
        cosines = {name: self._cosine(name, queries, candidates) for name in self.blocks}
        return ContentCosine(self.blocks, choose_weights(cosines, quality, WEIGHTS))

    def scores(self, queries: Array, candidates: Array) -> Array:
        """Returns `(len(queries), len(candidates))` scores for rows of the table."""
        total = np.zeros((len(queries), len(candidates)), np.float32)
        for name, weight in self.weights.items():
            if weight:
                total += weight * self._cosine(name, queries, candidates)
        return total

    def _cosine(self, name: str, queries: Array, candidates: Array) -> Array:
        cosine = self.blocks[name][queries] @ self.blocks[name][candidates].T
        return np.asarray(cosine.toarray() if sparse.issparse(cosine) else cosine, np.float32)


def _tf_idf(ids: Array, warm: Array) -> sparse.csr_matrix:
    """Returns unit rows of inverse-document-frequency weights; id 0 is missing."""
    ids = ids.reshape(len(ids), -1)
    present = ids > 0
    counts = sparse.csr_matrix(
        (np.ones(present.sum()), (np.nonzero(present)[0], ids[present])), shape=(len(ids), int(ids.max(initial=0)) + 1)
    )
    counts.data[:] = 1.0
    frequency = np.asarray((counts[warm] > 0).sum(axis=0)).ravel()
    idf = inverse_document_frequency(frequency, warm.sum())
    return normalize(counts @ sparse.diags(idf)).tocsr()


def _reduce(matrix: sparse.csr_matrix, warm: Array, seed: int) -> Array:
    dim = min(_MAX_DIM, min(matrix[warm].shape) - 1)
    if dim < 2:
        return matrix.toarray()
    return normalize(TruncatedSVD(dim, random_state=seed).fit(matrix[warm]).transform(matrix))
