"""The scores of several models joined to one, so that a single index can serve them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.checks import check_validation
from bcl_keras.evaluation.choices import Judge, choose_model_weights, judged_songs
from bcl_keras.fields import Array, Field, blocks_of
from bcl_keras.models.song_model import SongModel
from bcl_keras.ops.numerics import l2_normalize

Tensor = Any

_ROUNDING = 1e-5


@keras.saving.register_keras_serializable(package="bcl_keras")
class JoinedModel(SongModel):
    """Add the scores of several models, each scaled per query.

    With q_i and c_i a model's embeddings, `score = sum_i w_i (q_i . c_i) / sd_i(q_i)`, with sd_i the deviation of the
    query's scores over the warm songs, which `q_i' Cov(c_i) q_i` gives. That is one inner product of joined
    embeddings. Queries get unit length, and so does the longest warm candidate. Neither changes an order. A
    longer candidate that is not warm is scaled to length 1. So every score lies between -1 and 1.

    Args:
        models: Models such as `BCLModel` and `AudienceRidge`, with `embed_features`, `block_parts`, `warm_candidates`,
            `embedding_dim`, `fields` and `num_songs`.

    Call arguments:
        features: Dict of field name to values, and `song_index` for candidates.

    Returns:
        Embeddings `(n, sum of the models' lengths)` float32.

    Examples:
        >>> from bcl_keras.models import AudienceRidge, BCLModel
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> songs = {"genre": [1, 1, 2, 2], "tempo": [0.1, 0.2, 0.9, 1.0]}
        >>> ridge, towers = AudienceRidge(fields, 4, {"rank": 2}), BCLModel(fields, 4, {"embedding_dim": 8})
        >>> chosen = ridge.adapt(songs, ([0, 1, 2, 3], [1, 0, 3, 2], [1.0, 1.0, 1.0, 1.0]))
        >>> towers.set_catalogue(songs)  # and train them
        >>> model = JoinedModel([ridge, towers])
        >>> model.adapt()["weights"]
        [1.0, 1.0]
        >>> scores = model.embed_songs({"genre": [1], "tempo": [0.15]}) @ model.warm_candidates().T
        >>> scores.shape
        (1, 4)
    """

    def __init__(self, models: Sequence[keras.layers.Layer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not models:
            raise ValueError(f"Argument `models` must hold at least one model. Received: {models}")
        self.models = list(models)

    @property
    def embedding_dim(self) -> int:  # type: ignore[override]
        """Length of an embedding: the sum of the models'."""
        return sum(model.embedding_dim for model in self.models)

    @property
    def fields(self) -> tuple[Field, ...]:  # type: ignore[override]
        """Fields of all models, each once."""
        return tuple({field.name: field for model in self.models for field in model.fields}.values())

    @property
    def num_songs(self) -> int:  # type: ignore[override]
        """Number of warm songs."""
        return int(self.models[0].num_songs)

    def build(self, input_shape: Any = None) -> None:
        """Create the scales; sizes follow from the models."""
        for place, model in enumerate(self.models):
            if not model.built:
                model.build()
            self._state((model.embedding_dim, model.embedding_dim), f"covariance_{place}")
        for first, second in self._pairs():
            lengths = (self.models[first].embedding_dim, self.models[second].embedding_dim)
            self._state(lengths, f"covariance_{first}_{second}")
        self._state((len(self.models),), "weights_of_models", "ones")
        self._state((), "longest", "ones")

    def _state(self, shape: tuple[int, ...], name: str, initializer: str = "zeros") -> None:
        made = self.add_weight(
            shape=shape, initializer=initializer, trainable=False, autocast=False, dtype="float32", name=name
        )
        setattr(self, name, made)

    def adapt(
        self,
        validation: tuple[Mapping[str, Any], Any] | None = None,
        k: int = 50,
        *,
        weights: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """Bring the models to one scale and choose the weight of every model after the first, which counts 1.

        Call it again when a model has changed.

        Args:
            validation: Features of songs that are not warm, and `(n, P)` rows of the warm songs they should retrieve,
                padded with -1. Without it every model counts 1.
            k: Length of the list judged. Defaults to 50.
            weights: One for each model, as an earlier call returned them. Nothing is chosen then.

        Returns:
            What was chosen: `weights`, their `validation_recall`, and the recall of every model `alone`. The weights
            are chosen model by model, twice, the smallest of equal ones; a later model weighs 0 at first.

        Raises:
            ValueError: If a validation song breaks its fields' contract, a positive is not a row of a warm song, or
                `weights` are not one for each model, or given with `validation`.
        """
        given = self._given_weights(weights, validation)
        if validation is not None:
            validation = check_validation(self.fields, validation, self.num_songs)
        if not self.built:
            self.build()
        candidates = [model.warm_candidates() for model in self.models]
        for place, songs in enumerate(candidates):
            getattr(self, f"covariance_{place}").assign(np.cov(songs.T, ddof=0).reshape(songs.shape[1], -1))
        for first, second in self._pairs():
            centred = [candidates[place] - candidates[place].mean(axis=0) for place in (first, second)]
            getattr(self, f"covariance_{first}_{second}").assign(centred[0].T @ centred[1] / len(centred[0]))
        report: dict[str, Any] = {"validation_recall": None, "alone": []}
        judged = judged_songs(validation, np.random.default_rng(0))
        if judged is not None:
            scores = [self._scores(place, songs, judged[0]) for place, songs in enumerate(candidates)]
            judge = Judge(judged[1], k)
            given, report["validation_recall"] = choose_model_weights(scores, judge.recall_of_scores)
            report["alone"] = [judge.recall_of_scores(part) for part in scores]
        self.weights_of_models.assign(np.array(given, "float32"))
        longest = np.linalg.norm(np.concatenate(candidates, axis=1), axis=1).max()
        self.longest.assign(longest if longest > 0 else 1.0)  # songs without any content have embeddings of zeros
        return {"weights": list(given), **report}

    def _given_weights(self, weights: Sequence[float] | None, validation: Any) -> tuple[float, ...]:
        if weights is None:
            return (1.0,) * len(self.models)
        if validation is not None:
            raise ValueError("Arguments `weights` and `validation` must not both be given: the first leaves no choice")
        if len(weights) != len(self.models) or not all(0 <= weight < np.inf for weight in weights):
            raise ValueError(
                f"Argument `weights` must hold {len(self.models)} finite numbers of at least 0, one for each model. "
                f"Received: {list(weights)}"
            )
        return tuple(float(weight) for weight in weights)

    def _scores(self, place: int, songs: Array, features: Mapping[str, Any]) -> Array:
        tensors = {name: ops.convert_to_tensor(values) for name, values in features.items()}
        return np.asarray(ops.convert_to_numpy(self._scaled_query(place, tensors))) @ songs.T

    def _pairs(self) -> list[tuple[int, int]]:
        return list(itertools.combinations(range(len(self.models)), 2))

    def _query_and_scale(self, place: int, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return a model's queries and their scales `(n, 1)`: one over the deviation of the scores."""
        query = ops.cast(self.models[place].embed_features(features), "float32")
        covariance = getattr(self, f"covariance_{place}")
        variance = ops.sum(ops.matmul(query, covariance) * query, axis=1, keepdims=True)
        return query, ops.rsqrt(ops.maximum(variance, 1e-12))

    def _scaled_query(self, place: int, features: Mapping[str, Tensor]) -> Tensor:
        query, scale = self._query_and_scale(place, features)
        return query * scale

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs: of candidates if `song_index` is among the features, else of queries."""
        if "song_index" in features:
            parts = [ops.cast(model.embed_features(features), "float32") for model in self.models]
            return _at_most_one(ops.concatenate(parts, axis=1) / self.longest)
        queries = [self.weights_of_models[p] * self._scaled_query(p, features) for p in range(len(self.models))]
        return l2_normalize(ops.concatenate(queries, axis=1))

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`.

        The scales of the models and the length of the query are those of the whole song, so that the parts add up to
        its score.
        """
        queries, joined = [], []
        for place, model in enumerate(self.models):
            query, scale = self._query_and_scale(place, features)
            scale = self.weights_of_models[place] * scale
            queries.append(query * scale)
            names, parts = list(blocks_of(model.fields)), model.block_parts(features)
            of_block = [
                parts[:, names.index(name)] if name in names else ops.zeros_like(query)
                for name in blocks_of(self.fields)
            ]
            joined.append(ops.stack(of_block, axis=1) * scale[:, None])
        squared = ops.sum(ops.square(ops.concatenate(queries, axis=1)), axis=1)
        return ops.concatenate(joined, axis=2) * ops.rsqrt(ops.maximum(squared, 1e-12))[:, None, None]

    @property
    def evidence_names(self) -> tuple[str, ...]:
        """Names of what `evidence` returns."""
        agreements = (f"agreement_{first}_{second}" for first, second in self._pairs())
        return (*(f"deviation_{place}" for place in range(len(self.models))), *agreements)

    def evidence(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return evidence for the matches of songs, `(n, len(evidence_names))`, whatever the models' weights.

        It has two parts. The deviation of a model's scores over the warm songs is large where the model tells songs
        apart. The correlation of the scores of two models is 1 where they agree.
        """
        found = [self._query_and_scale(place, features) for place in range(len(self.models))]
        parts = [1.0 / scale for _, scale in found]
        for first, second in self._pairs():
            covariance = getattr(self, f"covariance_{first}_{second}")
            left, right = (query * scale for query, scale in (found[first], found[second]))
            parts.append(ops.sum(ops.matmul(left, covariance) * right, axis=1, keepdims=True))
        return ops.concatenate(parts, axis=1)

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, length)` float32."""
        joined = np.concatenate([model.warm_candidates() for model in self.models], axis=1)
        return np.asarray(joined / np.float32(ops.convert_to_numpy(self.longest)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        models = [keras.saving.serialize_keras_object(model) for model in self.models]
        return {**super().get_config(), "models": models}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> JoinedModel:
        """Restore the model and the models within."""
        models = [keras.saving.deserialize_keras_object(model) for model in config.pop("models")]
        return cls(models, **config)


def _at_most_one(vectors: Tensor) -> Tensor:
    """Return vectors, those longer than 1 scaled to length 1; those of warm songs keep every bit."""
    length = ops.sqrt(ops.sum(ops.square(vectors), axis=1, keepdims=True))
    return ops.where(length > 1.0 + _ROUNDING, vectors / ops.maximum(length, 1.0), vectors)
