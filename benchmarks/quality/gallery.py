"""Material for the page: correlated fields, a map of songs, and matches of some cold songs."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops
from sklearn.manifold import TSNE

import bcl_keras
from benchmarks.quality.metrics import as_truth, metrics_of
from benchmarks.quality.problem import Problem
from benchmarks.quality.towers import POSITIVES, scorer
from benchmarks.targeting_study.datasets import DataSet, word_lists
from tfx_pipeline.contract.splits import TEST, WARM

MAP_SONGS = 2_000
GENRES = 8
EXAMPLES = (0.1, 0.3, 0.5, 0.7, 0.9)
MATCHES = 8
_SHOWN_VALUES = 4
_DISPLAY = ("title", "name")


def gallery(problem: Problem, model: bcl_keras.models.SongModel, towers: bcl_keras.models.BCLModel) -> dict[str, Any]:
    """Returns plain values for the page.

    Args:
        problem: The split.
        model: Whose songs are mapped and matched.
        towers: Whose field correlation is shown; trained with the contrastive task.
    """
    matrix = ops.convert_to_numpy(towers.contrastive_views.correlation.matrix)
    return {
        "fields": [field.name for field in towers.fields],
        "correlation": np.round(matrix, 3).tolist(),
        "map": _map(problem, model),
        "examples": _examples(problem, model),
    }


def _map(problem: Problem, model: bcl_keras.models.SongModel) -> dict[str, Any]:
    """Warm songs in two dimensions by t-SNE of their candidate embeddings, with their first genre."""
    drawn = np.random.default_rng(problem.seed).permutation(len(problem.warm))[:MAP_SONGS]
    vectors = model.warm_candidates()[drawn]
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    neighbours = min(30, max(2, len(drawn) // 4))
    places = TSNE(init="pca", perplexity=neighbours, random_state=problem.seed).fit_transform(vectors)
    field, genres = _genres(problem.data, problem.split == WARM)
    names, counts = np.unique([g for g in genres[problem.warm[drawn]] if g], return_counts=True)
    kept = set(names[np.argsort(-counts)][:GENRES].tolist())
    labels = [g if g in kept else "other" for g in genres[problem.warm[drawn]]]
    return {"field": field, "x": places[:, 0].round(2).tolist(), "y": places[:, 1].round(2).tolist(), "label": labels}


def _genres(data: DataSet, warm: np.ndarray) -> tuple[str, np.ndarray]:
    """The commonest word of each song in the field of genres, or in the first field of words."""
    words = [field for field in data.fields if field.is_categorical]
    field = next((field for field in words if "genre" in field.name), words[0])
    lists = word_lists(data.features[field.name], field)
    counts: dict[str, int] = {}
    for row in np.flatnonzero(warm):
        for word in lists[row]:
            counts[word] = counts.get(word, 0) + 1
    best = [max(row, key=lambda word: counts.get(word, 0), default="") for row in lists]
    return field.name, np.array(best, object)


def _examples(problem: Problem, model: bcl_keras.models.SongModel) -> list[dict[str, Any]]:
    """Cold songs at fixed percentiles of recall, so that failures are shown as well; and what they are matched with."""
    test = problem.cold(TEST)
    scores = scorer(model)(test, problem.encoding)
    places = problem.similar_truth(test)[:, :POSITIVES]
    recall = metrics_of(scores, as_truth(places, len(problem.warm), POSITIVES))["recall@50"]
    judged = np.flatnonzero(~np.isnan(recall))
    ordered = judged[np.argsort(recall[judged], kind="stable")]
    found = []
    for share in EXAMPLES:
        row = int(ordered[int(share * (len(ordered) - 1))])
        best = np.argsort(-scores[row], kind="stable")[:MATCHES]
        listeners = problem.heard(test[[row]]).nnz
        found.append(
            {
                "song": _name(problem.data, test[row]),
                "content": _content(problem.data, test[row]),
                "listeners": listeners,
                "recall": float(recall[row]),
                "percentile": round(100 * share),
                "matches": [
                    {
                        "song": _name(problem.data, problem.warm[place]),
                        "score": round(float(scores[row, place]), 3),
                        "right": bool(place in places[row]),
                    }
                    for place in best
                ],
                "truth": [_name(problem.data, problem.warm[place]) for place in places[row][:MATCHES] if place >= 0],
            }
        )
    return found


def _name(data: DataSet, row: int) -> str:
    for column in _DISPLAY:
        if column in data.features.column_names and (value := data.features[column][int(row)].as_py()):
            return str(value)
    return data.songs[row].decode()


def _content(data: DataSet, row: int) -> str:
    """The words that describe a song, a few of each field."""
    parts = []
    for field in data.fields:
        if not field.is_categorical:
            continue
        value = data.features[field.name][int(row)].as_py()
        shown = value if isinstance(value, list) else [value] if value else []
        if shown:
            parts.append(f"{field.name.split('_', 1)[-1]}: {', '.join(map(str, shown[:_SHOWN_VALUES]))}")
    return "; ".join(parts)
