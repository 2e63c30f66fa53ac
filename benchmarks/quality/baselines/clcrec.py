"""CLCRec: users, songs and their content in one space; a share of the songs of a batch is shown by content."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

import bcl_keras
from benchmarks.quality.baselines.content import FIELD_DROPOUTS, ShownContent, content_rows, unit
from benchmarks.quality.baselines.training import batches, train
from benchmarks.quality.draws import Search
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer, WithListeners

BATCH = 1024

SEARCH = Search(
    {
        "dim": (64, 128),
        "hidden": (256, 512),
        "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
        "temperature": (0.05, 0.1, 0.2),
        "by_content": (0.3, 0.5, 0.7),
        "field_dropout": FIELD_DROPOUTS,
    },
    {
        "dim": 128,
        "hidden": 512,
        "learning_rate": 2e-3,
        "temperature": 0.1,
        "by_content": 0.5,
        "field_dropout": 0.0,
    },
)


def clcrec(problem: Problem, **settings: Any) -> Scorer:
    """Returns CLCRec: songs by content, against the vectors of songs and of listeners.

    Loss: `.5 InfoNCE(user, song) + .5 InfoNCE(content, song)`, negatives from the batch.

    Source: Wei et al., ACM Multimedia 2021, equations 9 to 14.
    """
    keras.utils.set_random_seed(problem.seed)
    chosen = {**SEARCH.start, **settings}
    shown = ShownContent(problem, problem.warm, problem.seed)
    model = ContrastiveCLCRec(len(problem.warm), problem.plays.shape[1], chosen, problem.seed)
    model.compile(keras.optimizers.Adam(chosen["learning_rate"]))
    played = problem.plays.tocoo()
    following = batches(len(played.row), min(BATCH, len(played.row)), problem.seed)

    def step() -> None:
        pick = following()
        songs = played.row[pick].astype("int32")
        content = shown.drawn(songs, chosen["field_dropout"])
        model.train_on_batch({"song": songs, "user": played.col[pick].astype("int32"), "content": content})

    def scorer() -> Scorer:
        candidates, listeners = (
            unit(ops.convert_to_numpy(table.embeddings)) if table.built else np.zeros((1, 1), np.float32)
            for table in (model.songs, model.users)
        )

        def query(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
            return unit(ops.convert_to_numpy(model.encoder(content_rows(problem, songs, encoding))))

        return WithListeners(
            lambda songs, encoding: query(songs, encoding) @ candidates.T,
            lambda songs, encoding: query(songs, encoding) @ listeners.T,
        )

    return train(problem, step, scorer, lambda: model.trainable_variables)


class ContrastiveCLCRec(keras.Model):
    """Users, songs and the encoder of content in one space."""

    def __init__(self, songs: int, users: int, settings: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.settings = settings
        hidden = keras.layers.Dense(settings["hidden"], "leaky_relu")
        self.encoder = keras.Sequential([hidden, keras.layers.Dense(settings["dim"])])
        self.songs = keras.layers.Embedding(songs, settings["dim"])
        self.users = keras.layers.Embedding(users, settings["dim"])
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the vectors of users, of songs, of their content, and of what a song is shown by."""
        songs, content = self.songs(batch["song"]), self.encoder(batch["content"])
        by_content = keras.random.uniform((ops.shape(songs)[0], 1), seed=self.seeds) < self.settings["by_content"]
        shown = ops.where(by_content, content, songs)
        return {"user": self.users(batch["user"]), "shown": shown, "song": songs, "content": content}

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        """Returns the mean of both contrastive losses."""
        parts = {name: ops.normalize(rows, axis=-1) for name, rows in y_pred.items()}
        shared = {"temperature": self.settings["temperature"], "positive_ids": x["song"]}
        collaborative = bcl_keras.losses.sampled_softmax(parts["user"], parts["shown"], **shared)
        alignment = bcl_keras.losses.sampled_softmax(parts["content"], parts["song"], **shared)
        return 0.5 * ops.mean(collaborative) + 0.5 * ops.mean(alignment)
