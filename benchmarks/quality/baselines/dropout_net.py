"""DropoutNet: content and factors to latent vectors, the factors of a share of the songs dropped."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.utils.extmath import randomized_svd

from benchmarks.quality.baselines.content import FIELD_DROPOUTS, ShownContent, content_rows, unit
from benchmarks.quality.baselines.training import batches, train
from benchmarks.quality.draws import Search
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners

FACTORS = 100
BATCH = 1024

SEARCH = Search(
    {
        "dim": (64, 128),
        "hidden": (256, 512),
        "learning_rate": (5e-4, 1e-3, 2e-3),
        "dropout": (0.3, 0.5, 0.7, 0.9),
        "field_dropout": FIELD_DROPOUTS,
    },
    {"dim": 64, "hidden": 512, "learning_rate": 1e-3, "dropout": 0.7, "field_dropout": 0.0},
)


def dropout_net(problem: Problem, **settings: Any) -> Scorer:
    """Returns DropoutNet: songs by content alone, against songs and listeners with their factors.

    Loss: squared difference of the latent product to that of the factors, over played pairs and as many drawn ones.

    Source: Volkovs, Yu, Poutanen, NeurIPS 2017, equations 2 and 4, with its own tower of users.
    """
    keras.utils.set_random_seed(problem.seed)
    chosen = {**SEARCH.start, **settings}
    shown = ShownContent(problem, problem.warm, problem.seed)
    spread = 1 / shown.rows.std()  # beside factors of deviation 1
    left, sizes, right = randomized_svd(problem.plays, min(FACTORS, *problem.plays.shape), random_state=problem.seed)
    factors = len(sizes)  # fewer than `FACTORS` where there are fewer songs or listeners
    scale = float(np.sqrt(factors))  # unit factors have elements of deviation 1 / scale
    songs, users = (scale * unit(part) for part in (left * sizes, right.T * sizes))
    song_net, user_net = (_encoder(chosen) for _ in range(2))
    widths = {"song": factors + shown.rows.shape[1], "user": factors}
    nodes = {name: keras.Input((width,), name=name) for name, width in widths.items()}
    model = keras.Model(nodes, keras.layers.Dot(1)([song_net(nodes["song"]), user_net(nodes["user"])]))
    model.compile(keras.optimizers.Adam(chosen["learning_rate"]), loss="mse")
    rng = np.random.default_rng(problem.seed)
    played = problem.plays.tocoo()
    following = batches(len(played.row), min(BATCH // 2, len(played.row)), problem.seed)

    def step() -> None:
        pick = following()
        song = np.concatenate([played.row[pick], rng.integers(len(songs), size=len(pick))])
        user = np.concatenate([played.col[pick], rng.integers(len(users), size=len(pick))])
        target = (songs[song] * users[user]).sum(axis=1) / scale
        known = songs[song] * (rng.random(len(song)) >= chosen["dropout"])[:, None]
        content = spread * shown.drawn(song, chosen["field_dropout"])
        model.train_on_batch({"song": np.concatenate([known, content], axis=1), "user": users[user]}, target)

    def embed(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
        joined = np.concatenate([known, spread * rows], axis=1).astype("float32")
        return ops.convert_to_numpy(song_net(joined))

    def scorer() -> Scorer:
        candidates, listeners = unit(embed(shown.rows, songs)), ops.convert_to_numpy(user_net(users))

        def query(of: np.ndarray, encoding: Encoding) -> np.ndarray:
            return embed(content_rows(problem, of, encoding), np.zeros((len(of), factors), "float32"))

        return WithListeners(
            lambda of, encoding: unit(query(of, encoding)) @ candidates.T,
            lambda of, encoding: query(of, encoding) @ listeners.T,
        )

    return train(problem, step, scorer, lambda: model.trainable_variables)


def _encoder(chosen: dict[str, Any]) -> keras.Sequential:
    return keras.Sequential([keras.layers.Dense(chosen["hidden"], "tanh"), keras.layers.Dense(chosen["dim"])])
