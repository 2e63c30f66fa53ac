"""SEMCo: content alone, trained so that a listener's songs lie together, by a sparse form of the sampled softmax."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.quality.baselines.content import FIELD_DROPOUTS, ShownContent, content_rows
from benchmarks.quality.baselines.training import train
from benchmarks.quality.draws import Search
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners

USERS, HISTORY, NEGATIVES = 256, 10, 1024
_HALVINGS = 30

SEARCH = Search(
    {
        "dim": (64, 128),
        "hidden": (256, 512),
        "learning_rate": (2e-4, 5e-4, 1e-3, 2e-3),
        "temperature": (0.05, 0.1, 0.2),
        "alpha": (1.25, 1.5, 2.0),
        "dropout": (0.0, 0.3, 0.5),
        "field_dropout": FIELD_DROPOUTS,
    },
    {
        "dim": 128,
        "hidden": 512,
        "learning_rate": 5e-4,
        "temperature": 0.1,
        "alpha": 1.5,
        "dropout": 0.3,
        "field_dropout": 0.0,
    },
)


def semco(problem: Problem, **settings: Any) -> Scorer:
    """Returns an encoder of content in the manner of SEMCo: songs by content, listeners by the content of their songs.

    Loss: sampled alpha-entmax of one of a listener's songs against songs drawn at random, by its cosine with the mean
    of some of the listener's others. No vector of a user or a song is learnt.

    Source: Meehan and Pauwels, arXiv 2604.12990, from its abstract and summaries; its attention over modalities and
    its distillation are left out, and the content is joined as for every trained row.
    """
    keras.utils.set_random_seed(problem.seed)
    chosen = {**SEARCH.start, **settings}
    shown = ShownContent(problem, problem.warm, problem.seed)
    layers = keras.layers
    encoder = keras.Sequential(
        [layers.Dense(chosen["hidden"], "relu"), layers.Dropout(chosen["dropout"]), layers.Dense(chosen["dim"])]
    )
    model = SampledEntmax(encoder, chosen["temperature"], chosen["alpha"])
    model.compile(keras.optimizers.Adam(chosen["learning_rate"]))
    rng, by_user = np.random.default_rng(problem.seed), problem.plays.T.tocsr()
    users = np.flatnonzero(np.diff(by_user.indptr) >= 2)

    def step() -> None:
        drawn = rng.choice(users, min(USERS, len(users)), replace=False)
        songs = np.stack([_songs(by_user, user, rng) for user in drawn.tolist()])
        candidates = np.concatenate([songs[:, 0], rng.integers(len(shown.rows), size=NEGATIVES)])
        played = by_user[drawn][:, candidates].toarray() > 0
        np.fill_diagonal(played, False)
        history = shown.drawn(songs[:, 1:].ravel(), chosen["field_dropout"])
        content = shown.drawn(candidates, chosen["field_dropout"])
        model.train_on_batch({"history": history, "content": content, "counted": ~played})

    means = by_user.multiply(1 / np.maximum(by_user.sum(axis=1), 1)).tocsr().astype(np.float32)

    def scorer() -> Scorer:
        warm = ops.convert_to_numpy(model.encode(shown.rows))
        of_users = np.asarray(means @ warm)

        def query(of: np.ndarray, encoding: Encoding) -> np.ndarray:
            return ops.convert_to_numpy(model.encode(content_rows(problem, of, encoding)))

        return WithListeners(
            lambda of, encoding: query(of, encoding) @ warm.T, lambda of, encoding: query(of, encoding) @ of_users.T
        )

    return train(problem, step, scorer, lambda: model.trainable_variables)


def _songs(by_user: Any, user: int, rng: np.random.Generator) -> np.ndarray:
    """Returns one song of a user and `HISTORY` of the others, repeated where there are fewer."""
    played = rng.permutation(by_user.indices[by_user.indptr[user] : by_user.indptr[user + 1]])
    others = played[1 : HISTORY + 1]
    return np.concatenate([played[:1], np.resize(others, HISTORY)])


class SampledEntmax(keras.Model):
    """An encoder of content, trained by the entmax of a listener's song among drawn songs."""

    def __init__(self, encoder: keras.Sequential, temperature: float, alpha: float) -> None:
        super().__init__()
        self.encoder, self.temperature, self.alpha = encoder, temperature, alpha

    def encode(self, content: Any, training: bool = False) -> Any:
        """Returns (n, dim) vectors of length one."""
        return ops.normalize(self.encoder(content, training=training), axis=-1)

    def call(self, batch: dict[str, Any], training: bool = False) -> Any:
        """Returns (users, candidates) scores; a song that a user plays, other than the one asked for, gets -1e9."""
        count = ops.shape(batch["counted"])[0]
        history = self.encode(batch["history"], training)
        queries = ops.mean(ops.reshape(history, (count, HISTORY, -1)), axis=1)
        candidates = self.encode(batch["content"], training)
        scores = ops.matmul(ops.normalize(queries, axis=-1), ops.transpose(candidates)) / self.temperature
        return ops.where(batch["counted"], scores, -1e9)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        """Returns a value whose gradient is that of the Fenchel-Young loss of entmax, `p - y`."""
        wanted = ops.eye(ops.shape(y_pred)[0], ops.shape(y_pred)[1])
        residual = ops.stop_gradient(entmax(y_pred, self.alpha) - wanted)
        return ops.mean(ops.sum(ops.where(x["counted"], residual * y_pred, 0.0), axis=1))


def entmax(scores: Any, alpha: float) -> Any:
    """Returns alpha-entmax of each row: `[(alpha - 1) s - threshold]_+ ^ (1 / (alpha - 1))`, rows of sum one.

    Source: Peters, Niculae, Martins, ACL 2019. The threshold is found by halving.
    """
    scaled = (alpha - 1) * scores
    largest = ops.max(scaled, axis=1, keepdims=True)
    low, high = largest - 1.0, largest
    power = 1 / (alpha - 1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        total = ops.sum(ops.maximum(scaled - middle, 0.0) ** power, axis=1, keepdims=True)
        low, high = ops.where(total >= 1, middle, low), ops.where(total >= 1, high, middle)
    found = ops.maximum(scaled - low, 0.0) ** power
    return found / ops.sum(found, axis=1, keepdims=True)
