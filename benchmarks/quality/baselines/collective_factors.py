"""cmfrec: plays and content factorised together."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.quality.baselines.content import content_rows, unit
from benchmarks.quality.draws import Search, Settings
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners
from benchmarks.quality.validation import best_of

#: `content`: how much an element of the content counts, beside a play; `factors`, `ridge`, `alpha`: as cmfrec has them.
SEARCH = Search(
    {
        "content": (0.01, 0.1, 1.0),
        "factors": (50, 100),
        "ridge": (1.0, 10.0),
        "alpha": (1.0, 10.0),
    },
    {"content": 0.1, "factors": 100, "ridge": 1.0, "alpha": 1.0},
)


def collective_factors(problem: Problem) -> Scorer:
    """Returns cmfrec's factors, songs without plays by their content alone, of settings that validation songs choose.

    Loss: weighted squared error of implicit plays plus that of the content. Songs are its "users" here: they are what
    content is known of.

    Source: Cortes, "Cold-start recommendations in Collective Matrix Factorization", 2018, and its library.
    """
    return best_of(problem, SEARCH, lambda settings: _factors(problem, settings))


def _factors(problem: Problem, settings: Settings) -> Scorer:
    import cmfrec

    chosen = dict(settings)
    content = content_rows(problem, problem.warm, problem.encoding)
    model: Any = cmfrec.CMF_implicit(
        k=chosen["factors"],
        w_user=chosen["content"] * chosen["factors"],
        lambda_=chosen["ridge"],
        alpha=chosen["alpha"],
        niter=10,
        random_state=problem.seed,
        verbose=False,
        nthreads=2,
    )
    deviation = content.std()
    model.fit(problem.plays.tocoo(), U=content / deviation)
    warm, listeners = unit(model.A_), np.asarray(model.B_)

    def query(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
        rows = np.asarray(content_rows(problem, songs, encoding) / deviation, "float32")
        # One song at a time: only so does the library leave unknown plays out, rather than take them for none.
        return np.stack([model.factors_cold(U=row) for row in rows])

    return WithListeners(
        lambda songs, encoding: unit(query(songs, encoding)) @ warm.T,
        lambda songs, encoding: query(songs, encoding) @ listeners.T,
    )
