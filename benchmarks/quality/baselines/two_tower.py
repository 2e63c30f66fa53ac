"""TensorFlow Recommenders' two towers over pairs of similar songs, with its own retrieval task."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.quality.baselines.content import FIELD_DROPOUTS, ShownContent, content_rows
from benchmarks.quality.baselines.training import batches, train
from benchmarks.quality.draws import Search
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.scorer import Scorer
from benchmarks.quality.towers import POSITIVES, learnt_pairs, learnt_songs

BATCH = 1024
#: Score of a song that does not count, as TFRS has it.
MASKED = -1e36

SEARCH = Search(
    {
        "dim": (64, 128),
        "hidden": (256, 512),
        "learning_rate": (2e-4, 5e-4, 1e-3, 2e-3),
        "temperature": (0.05, 0.1, 0.2),
        "dropout": (0.3, 0.5, 0.7),
        "log_q": (True, False),
        "masked": (True, False),
        "field_dropout": FIELD_DROPOUTS,
    },
    {
        "dim": 128,
        "hidden": 512,
        "learning_rate": 5e-4,
        "temperature": 0.1,
        "dropout": 0.5,
        "log_q": True,
        "masked": True,
        "field_dropout": 0.15,
    },
)


def tfrs_two_tower(problem: Problem, few_listeners: bool = False, **settings: Any) -> Scorer:
    """Returns TFRS's towers: an anchor by content, a candidate by content and a vector of its own.

    Loss: that of `tasks.Retrieval`, softmax over the batch, by TFRS's own layers: log-q correction (`log_q`) and
    accidental hits removed; known positives masked (`masked`), blocks of content withheld (`field_dropout`). With
    `few_listeners`, songs of too few listeners to be candidates are anchors too.

    Source: TensorFlow Recommenders' retrieval guide; Yi et al., RecSys 2019. In Keras 2, which TFRS is written in.
    """
    import tensorflow as tf
    import tf_keras

    chosen = {**SEARCH.start, **settings}
    tf_keras.utils.set_random_seed(problem.seed)
    shown = ShownContent(problem, learnt_songs(problem, few_listeners), problem.seed)
    warm = np.arange(len(problem.warm), dtype="int32")
    anchors, positives, _ = learnt_pairs(problem, POSITIVES, few_listeners)
    model, optimizer = two_tower(len(warm), chosen), tf_keras.optimizers.Adam(chosen["learning_rate"])
    model.queries(tf.constant(shown.rows[:1])), model.candidates(tf.constant(shown.rows[:1]), tf.constant([0]))
    optimizer.build(model.trainable_variables)
    probability = (np.bincount(positives, minlength=len(warm)) / len(positives)).astype("float32")
    pairs = np.ones(len(anchors), np.int8), (anchors, positives)
    known = sparse.csr_matrix(pairs, shape=(len(shown.rows), len(warm)))
    following = batches(len(anchors), min(BATCH, len(anchors)), problem.seed)

    @tf.function(autograph=False)  # nothing here branches on a tensor, and the conversion takes a minute
    def train_step(batch: dict[str, Any]) -> None:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(batch, training=True)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    def step() -> None:
        pick = following()
        drawn, song = anchors[pick], positives[pick].astype("int32")
        train_step(
            {
                "anchor": tf.constant(shown.drawn(drawn, chosen["field_dropout"])),
                "content": tf.constant(shown.drawn(song, chosen["field_dropout"])),
                "song": tf.constant(song),
                "probability": tf.constant(probability[song]),
                "counted": tf.constant(counted(known, drawn, song)),
            }
        )

    def scorer() -> Scorer:
        candidates = model.candidates(tf.constant(shown.rows[: len(warm)]), tf.constant(warm)).numpy()

        def score(songs: np.ndarray, encoding: Encoding) -> np.ndarray:
            return model.queries(tf.constant(content_rows(problem, songs, encoding))).numpy() @ candidates.T

        return score

    return train(problem, step, scorer, lambda: model.trainable_variables)


def counted(known: sparse.csr_matrix, anchors: np.ndarray, songs: np.ndarray) -> np.ndarray:
    """Returns (n, n) bool, which songs of a batch count for an anchor: its own, and others not known as positives.

    Args:
        known: (anchors, songs), what is a pair.
        anchors: (n,) of the batch.
        songs: (n,) the positive of each.
    """
    others = known[anchors].toarray()[:, songs] == 0
    np.fill_diagonal(others, True)
    return others


def two_tower(songs: int, chosen: dict[str, Any]) -> Any:
    """Returns the model of some settings, for as many candidates as there are songs."""
    import tensorflow as tf
    import tensorflow_recommenders as recommenders
    import tf_keras

    class TwoTower(recommenders.Model):
        def __init__(self) -> None:
            super().__init__()
            layers = tf_keras.layers
            hidden, dropped = layers.Dense(chosen["hidden"], "relu"), layers.Dropout(chosen["dropout"])
            self.tower = tf_keras.Sequential([hidden, dropped, layers.Dense(chosen["dim"])])
            self.plays = layers.Embedding(songs, chosen["dim"])

        def candidates(self, rows: Any, song: Any, training: bool = False) -> Any:
            return tf.math.l2_normalize(self.tower(rows, training=training) + self.plays(song), axis=1)

        def queries(self, rows: Any, training: bool = False) -> Any:
            return tf.math.l2_normalize(self.tower(rows, training=training), axis=1)

        def compute_loss(self, inputs: Any, training: bool = False) -> Any:
            queries = self.queries(inputs["anchor"], training)
            candidates = self.candidates(inputs["content"], inputs["song"], training)
            scores = tf.matmul(queries, candidates, transpose_b=True) / chosen["temperature"]
            if chosen["log_q"]:
                scores = recommenders.layers.loss.SamplingProbablityCorrection()(scores, inputs["probability"])
            labels = tf.eye(tf.shape(scores)[0])
            scores = recommenders.layers.loss.RemoveAccidentalHits()(labels, scores, inputs["song"])
            if chosen["masked"]:
                scores = tf.where(inputs["counted"], scores, MASKED)
            return tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(labels, scores))

    return TwoTower()
