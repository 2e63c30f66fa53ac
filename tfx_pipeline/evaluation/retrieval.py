"""Retrieval of similar songs for cold songs, judged beside rows that need no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bcl_keras.evaluation.bootstrap import interval, resampled_rows
from bcl_keras.evaluation.choices import candidate_pool
from bcl_keras.evaluation.ranking import Rankings, relevant_mask
from bcl_keras.fields import Array
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.splits import TEST, VALIDATION, WARM
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.content_cosine import ContentCosine
from tfx_pipeline.evaluation.slices import slices
from tfx_pipeline.models.song_table import SongTable

#: LAST is the judged model that was kept at the last push: it has learnt nothing from the held-out songs.
MODEL, LAST, CONTENT_COSINE, RANDOM = "model", "judged model of the last push", "content cosine", "random"
#: Validation songs on which the weights of content cosine are chosen, at most.
_MAX_CHOICE_SONGS = 500
_MAX_CHOICE_CANDIDATES = 8192
_BLOCK = 512

Scorer = Callable[[Array], Array]


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
        songs: Cold songs judged, at most `EvaluationConfig.max_songs`.
        without_truth: Cold songs left out because no warm song shares a listener with them.
        candidates: Warm songs ranked.
        rows: Estimates by name of row and of metric.
        slices: Recall by name of slice and of row.
    """

    songs: int
    without_truth: int
    candidates: int
    rows: dict[str, dict[str, Estimate]]
    slices: dict[str, dict[str, Estimate]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for JSON."""
        return asdict(self)


def evaluate(
    table: SongTable,
    fields: Sequence[SongField],
    queries: Array,
    candidates: Array,
    config: EvaluationConfig,
    last: tuple[Array, Array] | None = None,
) -> dict[str, SplitReport]:
    """Judges the model, the last pushed one, content cosine and a random order on validation and test songs.

    The `config.truth` warm songs of most similar audience are relevant. The weights of content cosine are chosen on
    validation songs.

    Args:
        table: All songs.
        fields: The song fields.
        queries: `(len(table), d)`, embeddings of content.
        candidates: `(len(table), d)`, embeddings as in the index.
        config: Settings.
        last: Queries and candidates of the judged model of the last push.

    Returns:
        A report by split. A split without songs that can be judged has no report.
    """
    warm, truth = _warm_truth(table, config)
    cosine = _fitted_cosine(table, fields, warm, truth, config)
    shuffle = np.random.default_rng(config.seed)
    scorers: dict[str, Scorer] = {
        MODEL: _inner_products(queries, candidates[warm]),
        **({} if last is None else {LAST: _inner_products(last[0], last[1][warm])}),
        CONTENT_COSINE: lambda rows: cosine.scores(rows, warm),
        RANDOM: lambda rows: shuffle.random((len(rows), len(warm))),
    }
    reports = {}
    for split in (VALIDATION, TEST):
        with_truth = _with_truth(table, truth, split)
        if len(with_truth):
            without_truth = int((table.splits == split).sum()) - len(with_truth)
            judged = _drawn(with_truth, config)
            rankings = {name: _rankings(s, judged, truth, len(warm), config.k) for name, s in scorers.items()}
            parts = slices(table, truth, judged, warm)
            reports[split] = SplitReport(
                len(judged), without_truth, len(warm), _estimates(rankings, config), _sliced(rankings, parts, config)
            )
    return reports


def model_recalls(
    table: SongTable, queries: Array, candidates: Array, config: EvaluationConfig, split: str
) -> tuple[Array, Array]:
    """Returns rows of the songs judged in a split, and the model's recall@k of each; see `evaluate`."""
    warm, truth = _warm_truth(table, config)
    judged = _drawn(_with_truth(table, truth, split), config)
    if not len(judged):
        return judged, np.zeros(0)
    rankings = _rankings(_inner_products(queries, candidates[warm]), judged, truth, len(warm), config.k)
    return judged, _recalls(rankings, config.k).astype(float)


def _fitted_cosine(
    table: SongTable, fields: Sequence[SongField], warm: Array, truth: Array, config: EvaluationConfig
) -> ContentCosine:
    cosine = ContentCosine.fit(table, fields, table.splits == WARM, seed=config.seed)
    choice = _with_truth(table, truth, VALIDATION)[:_MAX_CHOICE_SONGS]
    if not len(choice):
        return cosine
    rng = np.random.default_rng(config.seed)
    pool, places = candidate_pool(truth[choice], len(warm), _MAX_CHOICE_CANDIDATES, rng)
    relevant = relevant_mask(places, len(pool))

    def recall(scores: Array) -> float:
        return float(_recalls(Rankings.of(scores, relevant, config.k), config.k).mean())

    return cosine.choose_weights(choice, warm[pool], recall)


def _warm_truth(table: SongTable, config: EvaluationConfig) -> tuple[Array, Array]:
    """Returns rows of the warm songs, and for each song the places among them of those that are relevant."""
    warm = np.flatnonzero(table.splits == WARM)
    position = np.full(len(table), -1)
    position[warm] = np.arange(len(warm))
    rows = table.rows_of(table.similar_ids[:, : config.truth])
    return warm, np.where(rows >= 0, position[rows], -1)


def _with_truth(table: SongTable, truth: Array, split: str) -> Array:
    return np.flatnonzero((table.splits == split) & (truth >= 0).any(axis=1))


def _drawn(songs: Array, config: EvaluationConfig) -> Array:
    return np.sort(np.random.default_rng(config.seed).permutation(songs)[: config.max_songs])


def _inner_products(queries: Array, candidates: Array) -> Scorer:
    return lambda rows: np.asarray(queries[rows] @ candidates.T)


def _rankings(scorer: Scorer, rows: Array, truth: Array, candidates: int, k: int) -> Rankings:
    """Ranks a block of queries at a time."""
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    return Rankings.joined([Rankings.of(scorer(block), relevant_mask(truth[block], candidates), k) for block in blocks])


def _recalls(rankings: Rankings, k: int) -> Array:
    """Returns recalls in float32, the precision of the recall that training logs."""
    return rankings.recall(k).astype(np.float32)


def _sliced(
    rankings: Mapping[str, Rankings], parts: Mapping[str, Array], config: EvaluationConfig
) -> dict[str, dict[str, Estimate]]:
    found = {}
    for name, part in parts.items():
        estimates = _estimates({row: of_row[part] for row, of_row in rankings.items()}, config)
        found[name] = {row: metrics[f"recall@{config.k}"] for row, metrics in estimates.items()}
    return found


def _estimates(rankings: Mapping[str, Rankings], config: EvaluationConfig) -> dict[str, dict[str, Estimate]]:
    """Resamples songs, the same ones for every row."""
    draws = resampled_rows(len(next(iter(rankings.values()))), config.bootstrap, config.seed)
    estimates: dict[str, dict[str, Estimate]] = {}
    for name, of_row in rankings.items():
        values = {
            f"recall@{config.k}": _recalls(of_row, config.k),
            f"ndcg@{config.k}": of_row.ndcg(config.k).astype(np.float32),
            "mrr": of_row.reciprocal_rank().astype(np.float32),
        }
        estimates[name] = {metric: _estimate(value, draws) for metric, value in values.items()}
    return estimates


def _estimate(values: Array, draws: Array) -> Estimate:
    return Estimate(*interval(values.mean(), values[draws].mean(axis=1)))
