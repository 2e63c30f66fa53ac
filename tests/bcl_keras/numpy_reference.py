"""Independent float64 derivations that the tests compare the library with."""

from __future__ import annotations

import itertools

import numpy as np


def pair_distances(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, dtype="float64").reshape(len(rows), -1)
    return np.sqrt(((rows[:, None, :] - rows[None, :, :]) ** 2).sum(axis=2))


def centred(distances: np.ndarray) -> np.ndarray:
    return distances - distances.mean(axis=0) - distances.mean(axis=1)[:, None] + distances.mean()


def u_centred(distances: np.ndarray) -> np.ndarray:
    n = len(distances)
    sums = distances.sum(axis=0)
    result = distances - sums / (n - 2) - sums[:, None] / (n - 2) + distances.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(result, 0.0)
    return result


def distance_correlation(x: np.ndarray, y: np.ndarray, unbiased: bool = False) -> float:
    if unbiased:
        a, b = u_centred(pair_distances(x)), u_centred(pair_distances(y))
    else:
        a, b = centred(pair_distances(x)), centred(pair_distances(y))
    variance = np.sqrt((a * a).sum() * (b * b).sum())
    if variance < 1e-12:
        return 0.0
    return float(np.sqrt(max((a * b).sum() / variance, 0.0)))


def correlation_matrix(fields: list[np.ndarray], mask: np.ndarray | None = None, unbiased: bool = False) -> np.ndarray:
    count = len(fields)
    matrix = np.zeros((count, count))
    for i, j in itertools.product(range(count), repeat=2):
        both = np.ones(len(fields[0]), bool) if mask is None else (mask[:, i] & mask[:, j])
        if both.sum() >= (4 if unbiased else 2):
            matrix[i, j] = distance_correlation(fields[i][both], fields[j][both], unbiased)
    return matrix


def unit(rows: np.ndarray) -> np.ndarray:
    # A view without any field may be all zeros: its cosine with everything is 0.
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def info_nce(view_1: np.ndarray, view_2: np.ndarray, temperature: float) -> np.ndarray:
    """Both directions, written as the log of a share, song by song."""
    cosines = unit(view_1.astype("float64")) @ unit(view_2.astype("float64")).T
    powers = np.exp(cosines / temperature)
    values = []
    for i in range(len(powers)):
        values.append(-0.5 * (np.log(powers[i, i] / powers[i].sum()) + np.log(powers[i, i] / powers[:, i].sum())))
    return np.array(values)
