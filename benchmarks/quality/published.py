"""Published cold-start models that are trained, written from their papers; TFRS's two-tower with its own task.

Each gets content as `bcl_keras.layers.ContentVector` joins it (latent semantic analysis of words, numbers and vectors,
field weights chosen on validation songs), and the epoch with the best recall@50 on validation songs, as our towers do.
Settings: the best of `tuning`'s on validation songs of Last.fm-2K, seed 0, for all data sets and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.utils.extmath import randomized_svd

import bcl_keras
from bcl_keras.evaluation.choices import is_better
from benchmarks.quality.closed_form import Scorer
from benchmarks.quality.encoding import Encoding
from benchmarks.quality.problem import Problem
from benchmarks.quality.towers import POSITIVES, audience_ridge_model, learnt_pairs, learnt_songs
from tfx_pipeline.contract.splits import VALIDATION

FACTORS = 100
EPOCHS = 12
PATIENCE = 4
BATCH = 1024
#: Of cmfrec: how much an element of the content counts, beside a play.
CONTENT_WEIGHTS = (0.01, 0.1, 1.0)

Embed = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Settings:
    """What is tuned of a published model.

    Attributes:
        dim: Length of an embedding.
        hidden: Units of the hidden layer.
        learning_rate: Of Adam.
        temperature: That cosines are divided by, where the loss has one.
        dropout: DropoutNet and CLCRec: share of the songs shown by content alone; TFRS: share of hidden units dropped.
    """

    dim: int = 64
    hidden: int = 256
    learning_rate: float = 1e-3
    temperature: float = 0.1
    dropout: float = 0.5


DROPOUT_NET = Settings(hidden=512, dropout=0.7)
CLCREC = Settings(dim=128, hidden=512, learning_rate=2e-3)
TFRS = Settings(dim=128, hidden=512, learning_rate=5e-4)


def dropout_net(problem: Problem, settings: Settings = DROPOUT_NET) -> Scorer:
    """DropoutNet: content and SVD factors to latent vectors, the factors of a share of the songs dropped.

    Loss: squared difference of the latent product to that of the factors, over drawn pairs of user and song.

    Source: Volkovs, Yu, Poutanen, NeurIPS 2017, equations 2 and 4.
    """
    keras.utils.set_random_seed(problem.seed)
    warm = problem.warm
    content = content_rows(problem, warm, problem.encoding)
    spread = 1 / content.std()  # beside factors of deviation 1
    left, sizes, right = randomized_svd(problem.plays, FACTORS, random_state=problem.seed)
    scale = float(np.sqrt(FACTORS))  # unit factors have elements of deviation 1 / scale
    songs, users = ((scale * _unit(part)).astype("float32") for part in (left * sizes, right.T * sizes))

    def encoder() -> keras.Sequential:
        return keras.Sequential([keras.layers.Dense(settings.hidden, "tanh"), keras.layers.Dense(settings.dim)])

    song_net, user_net = encoder(), encoder()
    inputs = {"song": (FACTORS + content.shape[1],), "user": (FACTORS,)}
    nodes = {name: keras.Input(shape, name=name) for name, shape in inputs.items()}
    product = keras.layers.Dot(1)([song_net(nodes["song"]), user_net(nodes["user"])])
    model = keras.Model(nodes, product)
    model.compile(keras.optimizers.Adam(settings.learning_rate), loss="mse")
    rng = np.random.default_rng(problem.seed)
    played = problem.plays.tocoo()

    def epoch() -> None:
        drawn = rng.permutation(len(played.row))
        song = np.concatenate([played.row[drawn], rng.integers(len(warm), size=len(drawn))])
        user = np.concatenate([played.col[drawn], rng.integers(users.shape[0], size=len(drawn))])
        mixed = rng.permutation(len(song))
        for start in range(0, len(mixed), BATCH):
            pick = mixed[start : start + BATCH]
            factors = songs[song[pick]]
            target = (factors * users[user[pick]]).sum(axis=1) / scale
            factors = factors * (rng.random(len(pick)) >= settings.dropout)[:, None]
            batch = {"song": np.concatenate([factors, spread * content[song[pick]]], axis=1), "user": users[user[pick]]}
            model.train_on_batch(batch, target)

    def embed(rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
        joined = np.concatenate([factors, spread * rows], axis=1).astype("float32")
        return _unit(ops.convert_to_numpy(song_net(joined)))

    none = np.zeros((1, FACTORS), "float32")
    return _trained(
        problem,
        epoch,
        query=lambda rows: embed(rows, np.repeat(none, len(rows), axis=0)),
        candidates=lambda: embed(content, songs),
        weights=lambda: model.variables,
    )


def clcrec(problem: Problem, settings: Settings = CLCREC) -> Scorer:
    """CLCRec: users, songs and their content in one space; a share of the songs of a batch is shown by content.

    Loss: `.5 InfoNCE(user, song) + .5 InfoNCE(content, song)`, negatives from the batch.

    Source: Wei et al., ACM Multimedia 2021, equations 9 to 14.
    """
    keras.utils.set_random_seed(problem.seed)
    content = content_rows(problem, problem.warm, problem.encoding)
    model = ContrastiveCLCRec(content, problem.plays.shape[1], settings, problem.seed)
    model.compile(keras.optimizers.Adam(settings.learning_rate))
    rng = np.random.default_rng(problem.seed)
    played = problem.plays.tocoo()

    def epoch() -> None:
        drawn = rng.permutation(len(played.row))
        for start in range(0, len(drawn) - BATCH + 1, BATCH):
            pick = drawn[start : start + BATCH]
            model.train_on_batch({"song": played.row[pick].astype("int32"), "user": played.col[pick].astype("int32")})

    return _trained(
        problem,
        epoch,
        query=lambda rows: _unit(ops.convert_to_numpy(model.encoder(rows))),
        candidates=lambda: _unit(ops.convert_to_numpy(model.songs.embeddings)),
        weights=lambda: model.trainable_variables,
    )


class ContrastiveCLCRec(keras.Model):
    """Users, songs and the encoder of content in one space."""

    def __init__(self, content: np.ndarray, users: int, settings: Settings, seed: int) -> None:
        super().__init__()
        self.settings = settings
        hidden = keras.layers.Dense(settings.hidden, "leaky_relu")
        self.encoder = keras.Sequential([hidden, keras.layers.Dense(settings.dim)])
        self.songs = keras.layers.Embedding(len(content), settings.dim)
        self.users = keras.layers.Embedding(users, settings.dim)
        self.table = self.add_weight(shape=content.shape, trainable=False, initializer="zeros", name="table")
        self.table.assign(content)
        self.seeds = keras.random.SeedGenerator(seed)

    def call(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Returns the vectors of users, of songs, of their content, and of what a song is shown by."""
        songs = self.songs(batch["song"])
        content = self.encoder(ops.take(self.table, batch["song"], axis=0))
        by_content = keras.random.uniform((ops.shape(songs)[0], 1), seed=self.seeds) < self.settings.dropout
        return {
            "user": self.users(batch["user"]),
            "shown": ops.where(by_content, content, songs),
            "song": songs,
            "content": content,
        }

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        """Returns the mean of both contrastive losses."""
        ids = x["song"]
        collaborative = bcl_keras.losses.sampled_softmax(
            *map(_unit_tensor, (y_pred["user"], y_pred["shown"])),
            temperature=self.settings.temperature,
            positive_ids=ids,
        )
        alignment = bcl_keras.losses.sampled_softmax(
            *map(_unit_tensor, (y_pred["content"], y_pred["song"])),
            temperature=self.settings.temperature,
            positive_ids=ids,
        )
        return 0.5 * ops.mean(collaborative) + 0.5 * ops.mean(alignment)


def tfrs_two_tower(problem: Problem, settings: Settings = TFRS, sparse: bool = False) -> Scorer:
    """TFRS: anchor by content, candidate by content and id, `tasks.Retrieval` with in-batch sampled softmax.

    With `sparse`, songs of too few listeners to be candidates are anchors too.

    Source: TensorFlow Recommenders' retrieval guide; Yi et al., RecSys 2019. In Keras 2, which TFRS is written in.
    """
    import tensorflow as tf
    import tensorflow_recommenders as recommenders
    import tf_keras

    warm = problem.warm
    content = content_rows(problem, learnt_songs(problem, sparse), problem.encoding)
    tf_keras.utils.set_random_seed(problem.seed)

    class TwoTower(recommenders.Model):
        def __init__(self) -> None:
            super().__init__()
            layers = tf_keras.layers
            hidden, dropped = layers.Dense(settings.hidden, "relu"), layers.Dropout(settings.dropout)
            self.tower = tf_keras.Sequential([hidden, dropped, layers.Dense(settings.dim)])
            self.plays = layers.Embedding(len(warm), settings.dim)
            self.task = recommenders.tasks.Retrieval(temperature=settings.temperature, remove_accidental_hits=True)

        def candidates(self, rows: Any, songs: Any, training: bool = False) -> Any:
            return tf.math.l2_normalize(self.tower(rows, training=training) + self.plays(songs), axis=1)

        def queries(self, rows: Any, training: bool = False) -> Any:
            return tf.math.l2_normalize(self.tower(rows, training=training), axis=1)

        def compute_loss(self, inputs: Any, training: bool = False) -> Any:
            anchors = self.queries(tf.gather(table, inputs["anchor"]), training)
            candidates = self.candidates(tf.gather(table, inputs["positive"]), inputs["positive"], training)
            ids = tf.strings.as_string(inputs["positive"])
            return self.task(anchors, candidates, candidate_ids=ids, compute_metrics=False)

    table = tf.constant(content)
    model = TwoTower()
    model.compile(tf_keras.optimizers.Adam(settings.learning_rate))
    anchors, positives, _ = learnt_pairs(problem, POSITIVES, sparse)
    pairs = tf.data.Dataset.from_tensor_slices({"anchor": anchors, "positive": positives})
    pairs = pairs.shuffle(len(anchors), seed=problem.seed).batch(BATCH, drop_remainder=len(anchors) > BATCH)

    return _trained(
        problem,
        lambda: model.fit(pairs, epochs=1, verbose=0),
        query=lambda rows: model.queries(rows).numpy(),
        candidates=lambda: model.candidates(table[: len(warm)], tf.range(len(warm))).numpy(),
        weights=lambda: model.trainable_variables,
    )


def collective_factors(problem: Problem) -> Scorer:
    """cmfrec: plays and content factorised together, songs without plays by their content alone.

    Loss: weighted squared error of implicit plays plus that of the content, the content's weight chosen on validation
    songs. Songs are its "users" here: they are what content is known of.

    Source: Cortes, "Cold-start recommendations in Collective Matrix Factorization", 2018, and its library.
    """
    import cmfrec

    content = content_rows(problem, problem.warm, problem.encoding).astype("float32")
    songs = problem.cold(VALIDATION)
    rows = content_rows(problem, songs, problem.encoding)
    recall = problem.validation_judge.recall_of_scores
    best, scorer = -1.0, None
    for weight in CONTENT_WEIGHTS:
        model = cmfrec.CMF_implicit(
            k=FACTORS, w_user=weight * FACTORS, niter=10, random_state=problem.seed, verbose=False, nthreads=2
        )
        model.fit(problem.plays.tocoo(), U=content / content.std())
        found, warm = _of_content(model, content.std()), _unit(model.A_)
        reached = recall(found(rows) @ warm.T)
        if is_better(reached, best):
            best, scorer = reached, (found, warm)
    assert scorer is not None
    found, warm = scorer
    return lambda songs, encoding: found(content_rows(problem, songs, encoding)) @ warm.T


def _of_content(model: Any, deviation: float) -> Embed:
    # One song at a time: only so does the library leave unknown plays out, rather than take them for none.
    return lambda rows: _unit(np.stack([model.factors_cold(U=row) for row in np.asarray(rows / deviation, "float32")]))


def _trained(
    problem: Problem,
    epoch: Callable[[], object],
    *,
    query: Embed,
    candidates: Callable[[], np.ndarray],
    weights: Callable[[], Sequence[Any]],
) -> Scorer:
    """Runs epochs until validation recall has not risen for a while; the weights of the best one stay."""
    songs = problem.cold(VALIDATION)
    rows = content_rows(problem, songs, problem.encoding)
    recall = problem.validation_judge.recall_of_scores
    best, since, kept = -1.0, 0, []
    for _ in range(min(EPOCHS, problem.epochs or EPOCHS)):
        epoch()
        found, since = recall(query(rows) @ candidates().T), since + 1
        if is_better(found, best):
            best, since, kept = found, 0, [np.array(weight) for weight in weights()]
        if since >= PATIENCE:
            break
    for weight, value in zip(weights(), kept, strict=True):
        weight.assign(value)
    songs_found = candidates()
    return lambda songs, encoding: query(content_rows(problem, songs, encoding)) @ songs_found.T


def content_rows(problem: Problem, songs: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Returns the joined content of songs, (n, dim) float32."""
    layer = audience_ridge_model(problem).content
    features = {name: ops.convert_to_tensor(values) for name, values in encoding.rows(songs).items()}
    return ops.convert_to_numpy(layer(features))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _unit_tensor(rows: Any) -> Any:
    return ops.normalize(rows, axis=-1)
