"""Retrieval of similar songs for cold songs, judged beside the rows that need no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from keras import ops

import bcl_keras
from tfx_pipeline.cold_split import TEST, VALIDATION, WARM
from tfx_pipeline.configs import EvaluationConfig
from tfx_pipeline.content_cosine import ContentCosine
from tfx_pipeline.contract import SongField
from tfx_pipeline.song_table import SongTable

MODEL, CONTENT_COSINE, RANDOM = "model", "content cosine", "random"
#: Validation songs on which the weights of content cosine are chosen, at most.
_MAX_CHOICE_SONGS = 500
_BLOCK = 512


@dataclass(frozen=True)
class Estimate:
    """A mean over songs with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class SplitReport:
    """How each row does on one split.

    Attributes:
        songs: Cold songs judged.
        without_truth: Cold songs left out because no warm song shares a listener with them.
        candidates: Warm songs ranked.
        rows: Estimates by name of row and of metric.
    """

    songs: int
    without_truth: int
    candidates: int
    rows: dict[str, dict[str, Estimate]]

    def to_dict(self) -> dict:
        """Returns plain values for JSON."""
        return asdict(self)


def evaluate(
    table: SongTable,
    fields: Sequence[SongField],
    queries: np.ndarray,
    candidates: np.ndarray,
    config: EvaluationConfig,
) -> dict[str, SplitReport]:
    """Judges the model, content cosine and a random order on validation and test songs.

    Relevant are the `config.truth` warm songs of most similar audience. Choices (the weights of content cosine) are
    made on validation songs.

    Args:
        table: All songs.
        fields: The song fields.
        queries: `(len(table), d)`, embeddings of content.
        candidates: `(len(table), d)`, embeddings as in the index.
        config: Settings.

    Returns:
        A report by split. A split without songs that can be judged has no report.
    """
    warm = np.flatnonzero(table.splits == WARM)
    position = np.full(len(table), -1)
    position[warm] = np.arange(len(warm))
    truth = _positions(table.rows_of(table.similar_ids[:, : config.truth]), position)
    cosine = ContentCosine.fit(table, fields, table.splits == WARM, seed=config.seed)
    choice = _judged(table, truth, VALIDATION)[:_MAX_CHOICE_SONGS]
    if len(choice):
        cosine = cosine.choose_weights(
            choice, warm, lambda scores: float(_recall(_ranks_of(scores, truth[choice]), config.k).mean())
        )
    shuffle = np.random.default_rng(config.seed)
    scorers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        MODEL: lambda rows: queries[rows] @ candidates[warm].T,
        CONTENT_COSINE: lambda rows: cosine.scores(rows, warm),
        RANDOM: lambda rows: shuffle.random((len(rows), len(warm))),
    }
    reports = {}
    for split in (VALIDATION, TEST):
        judged = _judged(table, truth, split)
        if len(judged):
            ranks = {name: _ranks(scorer, judged, truth) for name, scorer in scorers.items()}
            without_truth = int((table.splits == split).sum()) - len(judged)
            reports[split] = SplitReport(len(judged), without_truth, len(warm), _estimates(ranks, config))
    return reports


def is_better(reports: Mapping[str, SplitReport], config: EvaluationConfig) -> bool:
    """Whether the model beats content cosine on validation songs by more than `config.min_gain`."""
    if VALIDATION not in reports:
        return False
    rows = reports[VALIDATION].rows
    metric = f"recall@{config.k}"
    return rows[MODEL][metric].mean > rows[CONTENT_COSINE][metric].mean * (1 + config.min_gain)


def _positions(rows: np.ndarray, position: np.ndarray) -> np.ndarray:
    return np.where(rows >= 0, position[rows], -1)


def _judged(table: SongTable, truth: np.ndarray, split: str) -> np.ndarray:
    return np.flatnonzero((table.splits == split) & (truth >= 0).any(axis=1))


def _ranks(scorer: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Returns `(len(rows), m)` ranks of the relevant songs, a block of queries at a time."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    return np.concatenate([_ranks_of(scorer(block), truth[block]) for block in blocks])


def _ranks_of(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return ops.convert_to_numpy(bcl_keras.metrics.positive_ranks(scores.astype("float32"), truth.astype("int32")))


def _recall(ranks: np.ndarray, k: int) -> np.ndarray:
    return ops.convert_to_numpy(bcl_keras.metrics.recall_at_k(ops.convert_to_tensor(ranks), k))


def _estimates(ranks: Mapping[str, np.ndarray], config: EvaluationConfig) -> dict[str, dict[str, Estimate]]:
    """Resamples songs, the same ones for every row."""
    count = len(next(iter(ranks.values())))
    draws = np.random.default_rng(config.seed).integers(count, size=(config.bootstrap, count))
    estimates: dict[str, dict[str, Estimate]] = {}
    for name, of_row in ranks.items():
        tensor = ops.convert_to_tensor(of_row)
        values = {
            f"recall@{config.k}": bcl_keras.metrics.recall_at_k(tensor, config.k),
            f"ndcg@{config.k}": bcl_keras.metrics.ndcg_at_k(tensor, config.k),
            "mrr": bcl_keras.metrics.reciprocal_rank(tensor),
        }
        estimates[name] = {metric: _estimate(ops.convert_to_numpy(value), draws) for metric, value in values.items()}
    return estimates


def _estimate(values: np.ndarray, draws: np.ndarray) -> Estimate:
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))
