"""EASE with side information: the words of a song are rows beside the listeners' plays."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from benchmarks.quality.baselines.audiences import LISTENERS, OF_WEIGHTS, predicted_audience, with_rule
from benchmarks.quality.closed_form import content_of
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.validation import best_of

#: How similar songs are ranked: by the weights themselves, or by the audience that they predict.
BY_WEIGHT, BY_AUDIENCE = "weight", "audience"
#: `content`: what a unit row of content counts beside a play, squared; `ridge`: lambda.
EASE_SEARCH = Search(
    {
        "content": (3.0, 10.0, 30.0, 100.0, 300.0),
        "ridge": (10.0, 30.0, 100.0, 300.0, 1000.0),
        "similar": (BY_AUDIENCE, BY_WEIGHT),
        "listeners": LISTENERS,
    },
    {"content": 100.0, "ridge": 100.0, "similar": BY_AUDIENCE, "listeners": OF_WEIGHTS},
)


def collective_ease(problem: Problem) -> Scorer:
    """Returns collective EASE of the settings that validation songs choose.

    EASE on the plays X with rows of content T below them: `min |Z - Z B|^2 + ridge |B|^2`, diag B = 0, with
    Z = [X; sqrt(content) T]. The column of a song without plays is `(Z^T Z + ridge I)^-1 content T^T t` over the warm
    songs, so that no song needs to be known when the model is made.

    Source: Jeunen, Van Balen, Goethals, RecSys 2020, the collective model; the column of a new song is ours.
    """
    return best_of(problem, EASE_SEARCH, lambda settings: ease(problem, settings))


def ease(problem: Problem, settings: Settings) -> Scorer:
    """Returns collective EASE of some settings."""
    chosen = dict(settings)
    content = content_of(problem)
    gram = play_products(problem) + np.float32(chosen["content"]) * content.of_warm
    gram.flat[:: len(gram) + 1] += np.float32(chosen["ridge"])
    factor, _ = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

    def weights(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        products = np.float32(chosen["content"]) * content.kernel(songs, encoding)
        return linalg.cho_solve((factor, True), products.T, check_finite=False).T

    def similar(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        found = weights(songs, encoding)
        return predicted_audience(problem, found) if chosen["similar"] == BY_AUDIENCE else found

    return with_rule(problem, similar, weights, chosen["listeners"])


def play_products(problem: Problem) -> np.ndarray:
    """Returns (warm, warm) float32: the listeners that two warm songs share, X^T X."""
    return np.asarray((problem.plays @ problem.plays.T).todense(), np.float32)
