"""Retrieval of similar songs for cold songs, judged beside the rows that need no training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from keras import ops

import bcl_keras
from tfx_pipeline.contract import SongField
from tfx_pipeline.contract.splits import TEST, VALIDATION, WARM
from tfx_pipeline.evaluation.config import EvaluationConfig
from tfx_pipeline.evaluation.content_cosine import ContentCosine
from tfx_pipeline.models.song_table import SongTable

#: The judged model was kept when the last model was pushed: the songs held out have taught it nothing.
MODEL, LAST, CONTENT_COSINE, RANDOM = "model", "judged model of the last push", "content cosine", "random"
#: Validation songs on which the weights of content cosine are chosen, at most.
_MAX_CHOICE_SONGS = 500
_MAX_CHOICE_CANDIDATES = 8192
_BLOCK = 512
#: Means of recalls in float32 that differ by no more are equal.
_ROUNDING = 1e-6


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

    def to_dict(self) -> dict:
        """Returns plain values for JSON."""
        return asdict(self)


def evaluate(
    table: SongTable,
    fields: Sequence[SongField],
    queries: np.ndarray,
    candidates: np.ndarray,
    config: EvaluationConfig,
    last: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, SplitReport]:
    """Judges the model, that of the last push, content cosine and a random order on validation and test songs.

    Relevant are the `config.truth` warm songs of most similar audience. Choices (the weights of content cosine) are
    made on validation songs.

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
    cosine = ContentCosine.fit(table, fields, table.splits == WARM, seed=config.seed)
    choice = _judged(table, truth, VALIDATION)[:_MAX_CHOICE_SONGS]
    if len(choice):
        pool, relevant = _choice_pool(truth[choice], len(warm), config.seed)
        cosine = cosine.choose_weights(
            choice, warm[pool], lambda scores: float(_recall(_ranks_of(scores, relevant), config.k).mean())
        )
    shuffle = np.random.default_rng(config.seed)
    scorers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        MODEL: lambda rows: queries[rows] @ candidates[warm].T,
        **({} if last is None else {LAST: lambda rows: last[0][rows] @ last[1][warm].T}),
        CONTENT_COSINE: lambda rows: cosine.scores(rows, warm),
        RANDOM: lambda rows: shuffle.random((len(rows), len(warm))),
    }
    reports = {}
    for split in (VALIDATION, TEST):
        judged = _judged(table, truth, split)
        if len(judged):
            without_truth = int((table.splits == split).sum()) - len(judged)
            judged = np.sort(np.random.default_rng(config.seed).permutation(judged)[: config.max_songs])
            ranks = {name: _ranks(scorer, judged, truth) for name, scorer in scorers.items()}
            parts = slices(table, truth, judged, warm)
            reports[split] = SplitReport(
                len(judged), without_truth, len(warm), _estimates(ranks, config), _sliced(ranks, parts, config)
            )
    return reports


def model_recalls(
    table: SongTable, queries: np.ndarray, candidates: np.ndarray, config: EvaluationConfig, split: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of the songs judged in a split, and the model's recall@k of each; see `evaluate`."""
    warm, truth = _warm_truth(table, config)
    judged = _judged(table, truth, split)
    judged = np.sort(np.random.default_rng(config.seed).permutation(judged)[: config.max_songs])
    if not len(judged):
        return judged, np.zeros(0)
    ranks = _ranks(lambda rows: queries[rows] @ candidates[warm].T, judged, truth)
    return judged, _recall(ranks, config.k).astype(float)


def refusals(reports: Mapping[str, SplitReport], config: EvaluationConfig) -> list[str]:
    """Returns why the model must not be pushed, by its recall on validation songs; nothing if it may."""
    if VALIDATION not in reports:
        return ["no validation song shares a listener with a warm song: nothing to judge by"]
    report = reports[VALIDATION]
    recalls = {name: row[f"recall@{config.k}"].mean for name, row in report.rows.items()}
    found = []

    def check(model: float, other: float, name: str, gain: float, difference: float | None, where: str = "") -> None:
        needed = max(other * (1 + gain), other + (-np.inf if difference is None else difference))
        # Not worse by the margin is enough beside the last model; nothing may be gained by a tie with content cosine.
        if model < needed - _ROUNDING or (model <= needed + _ROUNDING and name == CONTENT_COSINE):
            found.append(
                f"recall@{config.k}{where}: expected over {needed:.4f} ({name} {other:.4f}). Received: {model:.4f}"
            )

    check(recalls[MODEL], recalls[CONTENT_COSINE], CONTENT_COSINE, config.min_gain, config.min_difference)
    if config.min_gain_slice is not None:
        for name, rows in report.slices.items():
            cosine = rows[CONTENT_COSINE].mean
            check(rows[MODEL].mean, cosine, CONTENT_COSINE, config.min_gain_slice, None, f", {name}")
    if LAST in recalls:
        check(recalls[MODEL], recalls[LAST], LAST, config.min_gain_last, config.min_difference_last)
        for name, rows in report.slices.items():
            check(rows[MODEL].mean, rows[LAST].mean, LAST, config.min_gain_last_slice, None, f", {name}")
    return found


def slices(table: SongTable, truth: np.ndarray, judged: np.ndarray, warm: np.ndarray) -> dict[str, np.ndarray]:
    """Returns name -> which of the judged songs: a third whose truth is least popular, half with fewest fields.

    Args:
        table: All songs.
        truth: `(len(table), m)` positions among the warm songs, -1 for none.
        judged: Rows of the judged songs.
        warm: Rows of the warm songs.
    """
    listeners = np.where(truth[judged] >= 0, table.listeners[warm][truth[judged]], np.nan)
    typical = np.nanmedian(listeners, axis=1)
    present = np.sum([_present(values[judged]) for values in table.features.values()], axis=0)
    return {"long tail": typical <= np.quantile(typical, 1 / 3), "few fields": present <= np.median(present)}


def _present(values: np.ndarray) -> np.ndarray:
    values = values.reshape(len(values), -1)
    return np.any(values > 0, axis=1) if values.dtype.kind == "i" else ~np.any(np.isnan(values), axis=1)


def _sliced(
    ranks: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray], config: EvaluationConfig
) -> dict[str, dict[str, Estimate]]:
    found = {}
    for name, part in parts.items():
        estimates = _estimates({row: of_row[part] for row, of_row in ranks.items()}, config)
        found[name] = {row: metrics[f"recall@{config.k}"] for row, metrics in estimates.items()}
    return found


def _warm_truth(table: SongTable, config: EvaluationConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of the warm songs, and for each song the places among them of those that are relevant."""
    warm = np.flatnonzero(table.splits == WARM)
    position = np.full(len(table), -1)
    position[warm] = np.arange(len(warm))
    return warm, _positions(table.rows_of(table.similar_ids[:, : config.truth]), position)


def _positions(rows: np.ndarray, position: np.ndarray) -> np.ndarray:
    return np.where(rows >= 0, position[rows], -1)


def _choice_pool(truth: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of the candidates that weights are chosen on, and the truth as places among those.

    Of more than `_MAX_CHOICE_CANDIDATES` they are the relevant ones and a sample.
    """
    if count <= _MAX_CHOICE_CANDIDATES:
        return np.arange(count), truth
    drawn = np.random.default_rng(seed).choice(count, _MAX_CHOICE_CANDIDATES, replace=False)
    pool = np.union1d(truth[truth >= 0], drawn)
    return pool, np.where(truth >= 0, np.searchsorted(pool, np.maximum(truth, 0)), -1)


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
