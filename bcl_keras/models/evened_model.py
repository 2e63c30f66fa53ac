"""Candidates at one scale, so that matches do not gather on a few songs that are close to everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.blocks import in_blocks
from bcl_keras.checks import check_features, check_validation
from bcl_keras.evaluation.choices import Judge, is_better, judged_songs
from bcl_keras.fields import Array, Field
from bcl_keras.models.song_model import SongModel

Tensor = Any

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BEST = 50  # scores whose mean is the reach of a candidate
_MOST_QUERIES = 8192  # most songs that the reach is measured on
_LEAST = 1e-6
_STATES = {"factors": "ones", "covariance": "zeros", "typical": "ones", "strength": "zeros", "longest": "ones"}


@keras.saving.register_keras_serializable(package="bcl_keras")
class EvenedModel(SongModel):
    """Divide the embedding of each candidate by a power of its reach.

    The reach of a candidate is the mean of its 50 best scores over the songs of the catalogue, which are asked about by
    their content. A query's scores have deviation 1 over the warm songs there. A hub reaches high for many songs, so it
    is matched less often after the division. The scores stay inner products, and queries stay what they are.

    A candidate without plays counts as one whose reach is in proportion to the deviation of its scores. The longest
    warm candidate is as long as before, and no other candidate is longer.

    Args:
        model: A `BCLModel`, `AudienceRidge` or `JoinedModel`.

    Call arguments:
        features: Dict of field name to values, and `song_index` for candidates.

    Returns:
        Embeddings `(n, embedding_dim)` float32.

    Examples:
        >>> from bcl_keras.models import AudienceRidge
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> songs = {"genre": [1, 1, 2, 2], "tempo": [0.1, 0.2, 0.9, 1.0]}
        >>> ridge = AudienceRidge(fields, 4, {"rank": 2})
        >>> chosen = ridge.adapt(songs, ([0, 1, 2, 3], [1, 0, 3, 2], [1.0, 1.0, 1.0, 1.0]))
        >>> model = EvenedModel(ridge)
        >>> model.adapt(songs, strength=0.5)["strength"]
        0.5
        >>> model.warm_candidates().shape
        (4, 2)

    References:
        Radovanovic et al., Hubs in Space, JMLR 2010; the reach is the local scale of CSLS, Conneau et al., ICLR 2018.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.model = model

    @property
    def embedding_dim(self) -> int:  # type: ignore[override]
        """Length of an embedding."""
        return int(self.model.embedding_dim)

    @property
    def fields(self) -> tuple[Field, ...]:  # type: ignore[override]
        """Fields of the model."""
        return tuple(self.model.fields)

    @property
    def num_songs(self) -> int:  # type: ignore[override]
        """Number of warm songs."""
        return int(self.model.num_songs)

    def build(self, input_shape: Any = None) -> None:
        """Create what `adapt` fills; candidates are as the model has them until then."""
        if not self.model.built:
            self.model.build()
        shapes = {"factors": (self.num_songs + 1,), "covariance": (self.embedding_dim, self.embedding_dim)}
        for name, initializer in _STATES.items():
            made = self.add_weight(
                shape=shapes.get(name, ()),
                initializer=initializer,
                trainable=False,
                autocast=False,
                dtype="float32",
                name=name,
            )
            setattr(self, name, made)

    def adapt(
        self,
        features: Mapping[str, Any],
        validation: tuple[Mapping[str, Any], Any] | None = None,
        k: int = 50,
        *,
        strength: float | None = None,
        strengths: Sequence[float] = STRENGTHS,
        most_cost: float = 0.0,
    ) -> dict[str, Any]:
        """Measure the reach of every warm song and choose its power.

        Call it again when the model has changed.

        Args:
            features: Field name to array of one row per song; the first `num_songs` rows are the warm songs, further
                rows count nowhere.
            validation: Features of songs that are not warm, and `(n, P)` rows of the warm songs they should retrieve,
                padded with -1.
            k: Length of the list judged. Defaults to 50.
            strength: The power, as an earlier call returned it. Nothing is chosen then.
            strengths: The powers to choose among.
            most_cost: Share of the recall of validation songs that may be lost. The largest power that loses no more is
                chosen. Defaults to 0.

        Returns:
            What was chosen: `strength`, 0 without validation songs and strength, and the `recalls` of all powers.

        Raises:
            ValueError: If features break their fields' contract, there are fewer rows than warm songs, or `strength` is
                negative or given with `validation`.
        """
        self._check_strength(strength, validation)
        songs = check_features(self.fields, features)
        if len(next(iter(songs.values()))) < self.num_songs:
            raise ValueError(
                f"Argument `features` must hold at least {self.num_songs} warm songs. "
                f"Received: {len(next(iter(songs.values())))}"
            )
        if validation is not None:
            validation = check_validation(self.fields, validation, self.num_songs)
        if not self.built:
            self.build()
        candidates = self.model.warm_candidates()
        spread = np.cov(candidates.T, ddof=0).reshape(candidates.shape[1], -1)
        asked = np.sort(np.random.default_rng(0).permutation(self.num_songs)[:_MOST_QUERIES])
        queries = self._scaled_queries({name: values[asked] for name, values in songs.items()}, spread)
        reach = _reach(queries, candidates, asked)
        of_queries = np.cov(queries.T, ddof=0).reshape(spread.shape)
        typical = float(np.median(reach / _deviations(candidates, of_queries)))
        self.covariance.assign(of_queries)
        judged, recalls = judged_songs(validation, np.random.default_rng(0)), {}
        if judged is not None:
            asking, judge = self.model.embed_songs(judged[0]), Judge(judged[1], k)
            recalls = {power: judge.recall(asking, candidates / reach[:, None] ** power) for power in strengths}
            strength = _largest(recalls, most_cost)
        self._keep(candidates, reach, strength or 0.0, typical)
        return {"strength": float(strength or 0.0), "recalls": recalls}

    def _check_strength(self, strength: float | None, validation: Any) -> None:
        if strength is None:
            return
        if validation is not None:
            raise ValueError("Arguments `strength` and `validation` must not both be given: the first leaves no choice")
        if not 0 <= strength < np.inf:
            raise ValueError(f"Argument `strength` must be a finite number of at least 0. Received: {strength!r}")

    def _scaled_queries(self, features: Mapping[str, Array], spread: Array) -> Array:
        queries = self.model.embed_songs(features)
        return np.asarray(queries / _deviations(queries, spread)[:, None], "float32")

    def _keep(self, candidates: Array, reach: Array, strength: float, typical: float) -> None:
        """Keep the factors at which the longest candidate is as long as before."""
        lengths, factors = np.linalg.norm(candidates, axis=1), reach**-strength
        longest, scaled = float(lengths.max()), float((lengths * factors).max())
        share = longest / scaled if scaled > 0 else 1.0
        self.factors.assign(np.concatenate([[1.0], factors * share]).astype("float32"))
        # A candidate without plays: its reach is `typical` times the deviation of its scores.
        self.typical.assign(typical**-strength * share)
        self.strength.assign(strength)
        self.longest.assign(longest)

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs: of candidates if `song_index` is among the features, else of queries."""
        vectors = ops.cast(self.model.embed_features(features), "float32")
        if "song_index" not in features:
            return vectors
        index = ops.convert_to_tensor(features["song_index"])
        variance = ops.sum(ops.matmul(vectors, self.covariance) * vectors, axis=1)
        guessed = self.typical * ops.power(ops.maximum(variance, _LEAST**2), -0.5 * self.strength)
        guessed = ops.minimum(guessed, ops.max(self.factors))
        factors = ops.where(index > 0, ops.take(self.factors, index, axis=0), guessed)
        scaled = vectors * factors[:, None]
        length = ops.sqrt(ops.sum(ops.square(scaled), axis=1, keepdims=True))
        too_long = ops.logical_and(index[:, None] == 0, length > self.longest)
        return ops.where(too_long, scaled * self.longest / ops.maximum(length, _LEAST), scaled)

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`."""
        return self.model.block_parts(features)

    @property
    def evidence_names(self) -> tuple[str, ...]:
        """Names of what `evidence` returns; a model without evidence has none."""
        return tuple(self.model.evidence_names)

    @property
    def evidence(self) -> Any:
        """The function of the model that returns evidence for the matches of songs."""
        return self.model.evidence

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, embedding_dim)` float32."""
        factors = np.asarray(ops.convert_to_numpy(self.factors))[1:]
        return np.asarray(self.model.warm_candidates() * factors[:, None])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> EvenedModel:
        """Restore the model and the one within."""
        return cls(keras.saving.deserialize_keras_object(config.pop("model")), **config)


def _deviations(vectors: Array, covariance: Array) -> Array:
    """Return the deviation of each vector's products with vectors of this covariance, `(n,)`."""
    return np.sqrt(np.maximum(np.einsum("nd,nd->n", vectors @ covariance, vectors), _LEAST**2))


def _reach(queries: Array, candidates: Array, asked: Array) -> Array:
    """Return the mean of each candidate's best scores, its own as a query left out; at least a small number."""
    best = max(1, min(_BEST, len(queries) - 1))
    found = []
    for rows in in_blocks(np.arange(len(candidates))):
        scores = candidates[rows] @ queries.T
        scores[asked[None, :] == rows[:, None]] = -np.inf
        found.append(np.partition(scores, -best, axis=1)[:, -best:].mean(axis=1))
    reach = np.concatenate(found)
    # A candidate that scores high for nobody is no hub: it is not to be divided by next to nothing.
    known = np.where(np.isfinite(reach), reach, 0.0)
    typical = float(np.median(known[known > 0])) if (known > 0).any() else 1.0
    return np.maximum(known, 0.1 * typical)


def _largest(recalls: Mapping[float, float], most_cost: float) -> float:
    """Return the largest power whose recall is not below that of the smallest by more than the share."""
    least = recalls[min(recalls)] * (1.0 - most_cost)
    return max(power for power, recall in recalls.items() if not is_better(least, recall))
