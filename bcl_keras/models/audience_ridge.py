"""A closed form from content to audiences, as a pair of embeddings like the two towers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.blocks import in_blocks
from bcl_keras.checks import check_features, check_validation
from bcl_keras.closed_form import (
    AudienceSimilarity,
    AudienceTargets,
    Nystroem,
    drawn_directions,
    prediction_basis,
)
from bcl_keras.directions import turn_to_draws
from bcl_keras.evaluation.choices import (
    Judge,
    candidate_pool,
    choose_block_weights,
    first_best,
    is_better,
    judged_songs,
)
from bcl_keras.fields import Array, Field, as_fields
from bcl_keras.layers.content_vector import ContentVector
from bcl_keras.models.song_model import SongModel

Tensor = Any

_CONTENT_LENGTH = 1.3  # mean squared length of the content: with its square the kernel's diagonal is about 3
_MOST_CANDIDATES = 8192  # candidates by which the weights of the blocks are chosen
# What is chosen, and the config's values that it is chosen among.
_CHOSEN = {"ridge": "ridges", "own_share": "own_shares", "power": "powers", "spread": "spreads"}


@dataclass(frozen=True)
class RidgeConfig:
    """Hold the settings of an `AudienceRidge`; where several values stand, validation songs choose.

    Without validation songs the middle value of each is taken, and every block weighs 1.

    Attributes:
        rank: Length of the embeddings; with fewer warm songs their number.
        content_rank: Most elements of a block of ids (`ContentVector`).
        max_landmarks: Songs that a song is compared with; with fewer warm songs all are.
        ridges: Added to the diagonal of the kernel, whose mean is 3.
        own_shares: By how much a song counts as part of its own audience.
        powers: Of the length of a candidate's similarities that they are divided by: 1 keeps songs of many listeners
            from being favoured.
        spreads: Part of the scores of songs of similar audience that a candidate gets.
        block_weights: Weights of a block of the content.
        k: Length of the list judged.
        seed: Of the drawn landmarks.
    """

    rank: int = 192
    content_rank: int = 512
    max_landmarks: int = 4096
    ridges: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    own_shares: tuple[float, ...] = (0.0, 0.5, 1.0)
    powers: tuple[float, ...] = (0.0, 0.5, 1.0)
    spreads: tuple[float, ...] = (0.0, 0.5, 1.0)
    block_weights: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    k: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "content_rank", "max_landmarks", "k"):
            if getattr(self, name) < 1:
                raise ValueError(f"Argument `{name}` must be at least 1. Received: {getattr(self, name)!r}")
        for name in ("ridges", "own_shares", "powers", "spreads", "block_weights"):
            values = tuple(getattr(self, name))  # lists come back from JSON
            object.__setattr__(self, name, values)
            if not values or min(values) < 0 or (name == "ridges" and min(values) == 0):
                least = "above 0" if name == "ridges" else "of at least 0"
                raise ValueError(f"Argument `{name}` must hold numbers {least}. Received: {values!r}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `RidgeConfig(**values)` restores."""
        return asdict(self)


@keras.saving.register_keras_serializable(package="bcl_keras")
class AudienceRidge(SongModel):
    """Predict which warm songs share an audience with a song, by kernel ridge regression on its content.

    The kernel is that of joined content and of its pairs, `K + K * K`. Targets are the audience similarities of the
    warm songs, columns at length one. The predicted matrix is kept as two embeddings whose inner products are its best
    approximation of this rank: one of the content, one of the candidate, which also takes a part of its neighbours'.
    Everything is solved by `adapt`; nothing is trained by gradients.

    Args:
        fields: `Field` objects or their dicts.
        num_songs: Number of warm songs.
        config: Settings, or their dict. Defaults to `RidgeConfig()`.

    Call arguments:
        features: Dict of field name to values, and optionally `"song_index"`, integers `(n,)`: 1 .. num_songs for a
            warm song, 0 for one without plays, whose candidate embedding is then predicted from its content.

    Returns:
        Embeddings `(n, embedding_dim)` float32: with `song_index` of candidates, without it of queries.

    References:
        Our choice; the paper has no such part. Measured in `benchmarks/quality`.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        num_songs: int = 1,
        config: RidgeConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if num_songs < 1:
            raise ValueError(f"Argument `num_songs` must be at least 1. Received: {num_songs}")
        self.fields, self.num_songs = as_fields(fields), num_songs
        self.config = config if isinstance(config, RidgeConfig) else RidgeConfig(**(config or {}))
        self.content = ContentVector(self.fields, self.config.content_rank, name="content")
        self.embedding_dim = min(self.config.rank, num_songs)

    def build(self, input_shape: Any = None) -> None:
        """Create what `adapt` fills."""
        self.content.build()
        landmarks = min(self.num_songs, self.config.max_landmarks)
        shapes = {
            "landmarks": (landmarks, self.content.dim),
            "query_map": (landmarks, self.embedding_dim),
            "candidate_map": (landmarks, self.embedding_dim),
            "songs": (self.num_songs + 1, self.embedding_dim),
        }
        for name, shape in shapes.items():
            made = self.add_weight(
                shape=shape, initializer="zeros", trainable=False, autocast=False, dtype="float32", name=name
            )
            setattr(self, name, made)

    def adapt(
        self,
        features: Mapping[str, Any],
        similar: tuple[Any, Any, Any],
        validation: tuple[Mapping[str, Any], Any] | None = None,
        *,
        chosen: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Solve for the embeddings.

        Args:
            features: Field name to array of one row per song. Rows 0 .. num_songs - 1 are the warm songs; further rows
                are songs that are learnt from and never retrieved, such as those of too few listeners.
            similar: Any rows, rows of warm songs of similar audience, similarities above 0: see `PairStream`.
            validation: Features of other songs and `(n, P)` rows of the warm songs they should retrieve, padded with
                -1. They choose among the config's values.
            chosen: What an earlier call returned, on other songs of the same fields. These settings are taken in place
                of the config's values, and nothing is chosen.

        Returns:
            What was chosen: `block_weights`, `ridge`, `own_share`, `power`, `spread`; and `validation_recall`.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, there are fewer rows than warm songs,
                a pair or a positive names a row that is none, `chosen` is given with `validation`, or it lacks a
                setting or the weight of a block.
        """
        config = self.config if chosen is None else self._fixed(chosen, validation)
        features = check_features(self.fields, features)
        if validation is not None:
            validation = check_validation(self.fields, validation, self.num_songs)
        num_rows = len(next(iter(features.values())))
        if num_rows < self.num_songs:
            raise ValueError(
                f"Argument `features` must hold at least {self.num_songs} warm songs. Received: {num_rows}"
            )
        _check_rows(similar[0], "rows", num_rows)
        _check_rows(similar[1], "rows of warm songs", self.num_songs)
        if not self.built:
            self.build()
        warm = _rows(features, np.arange(self.num_songs))
        self.content.adapt(warm)
        rng = np.random.default_rng(self.config.seed)
        judged = judged_songs(validation, rng)
        if chosen is not None:
            self.content.set_block_weights(chosen["block_weights"])
        elif judged is not None:
            self._weigh_blocks(warm, judged, rng)
        self._scale_content(warm)
        landmarks = np.sort(rng.permutation(self.num_songs)[: self.landmarks.shape[0]])
        self.landmarks.assign(self.content(_rows(warm, landmarks)))
        similarity = AudienceSimilarity(similar, self.num_songs, num_rows)
        ridge = Nystroem(lambda part: self._numpy_kernel(_rows(features, part)), landmarks, num_rows)
        return self._solve(config, ridge, similarity, judged)

    def _fixed(self, chosen: Mapping[str, Any], validation: Any) -> RidgeConfig:
        """Return settings that leave no choice."""
        if validation is not None:
            raise ValueError("Arguments `chosen` and `validation` must not both be given: the first leaves no choice")
        if missing := [name for name in ("block_weights", *_CHOSEN) if name not in chosen]:
            raise ValueError(
                f"Argument `chosen` must hold what `adapt` returned. Received: {sorted(chosen)}, without {missing}"
            )
        fixed: dict[str, Any] = {grid: (chosen[name],) for name, grid in _CHOSEN.items()}
        return replace(self.config, **fixed)

    def _weigh_blocks(
        self, features: Mapping[str, Array], judged: tuple[Mapping[str, Array], Array], rng: np.random.Generator
    ) -> None:
        candidates, places = candidate_pool(judged[1], self.num_songs, _MOST_CANDIDATES, rng)
        judge = Judge(places, self.config.k)
        queries, songs = (self._block_arrays(part) for part in (judged[0], _rows(features, candidates)))
        self.content.set_block_weights(choose_block_weights(queries, songs, judge, self.config.block_weights))

    def _scale_content(self, features: Mapping[str, Array]) -> None:
        """Make the mean squared length of the content 1.3, so that a ridge means the same everywhere."""
        squares = [np.square(part).sum(axis=1).mean() for part in self._block_arrays(features).values()]
        scales = ops.convert_to_numpy(self.content.scales)
        length = float((np.square(scales) * squares).sum())
        if length > 0:
            self.content.scales.assign(scales * np.sqrt(_CONTENT_LENGTH / length).astype("float32"))

    def _block_arrays(self, features: Mapping[str, Array]) -> dict[str, Array]:
        everyone = np.arange(len(next(iter(features.values()))))
        parts = [self.content.block_vectors(_rows(features, rows)) for rows in in_blocks(everyone)]
        return {name: np.concatenate([ops.convert_to_numpy(part[name]) for part in parts]) for name in parts[0]}

    def _solve(
        self,
        config: RidgeConfig,
        ridge: Nystroem,
        similarity: AudienceSimilarity,
        judged: tuple[Mapping[str, Array], Array] | None,
    ) -> dict[str, Any]:
        """Choose one setting after the other by the candidates without their neighbours, then the neighbours' part."""
        judge, kernel = None, np.zeros((0, 0), "float32")
        if judged is not None:
            judge = Judge(judged[1], config.k)
            everyone = np.arange(len(judged[1]))
            kernel = np.concatenate([self._numpy_kernel(_rows(judged[0], rows)) for rows in in_blocks(everyone)])

        start = drawn_directions(self.num_songs, self.embedding_dim)

        def fit(ridge_value: float, own_share: float, power: float) -> tuple[float, Array, Array]:
            nonlocal start
            ridge.set_ridge(ridge_value)
            targets = AudienceTargets(similarity, own_share, power)
            basis, start = prediction_basis(ridge, targets, start, self.embedding_dim)
            coefficients = ridge.coefficients(targets @ basis)
            return (0.0 if judge is None else judge.recall(kernel @ coefficients, basis)), coefficients, basis

        grids = (config.ridges, config.own_shares, config.powers)
        chosen = tuple(_middle(grid) for grid in grids)
        fit(*chosen)  # one round more than later settings need, which start from these directions
        recall, query_map, songs = fit(*chosen)
        # The power matters most; the ridge costs most, since its inverse is made anew.
        for place in (2, 0, 1) if judge is not None else ():
            for value in grids[place]:
                setting = (*chosen[:place], value, *chosen[place + 1 :])
                if value != chosen[place] and is_better((found := fit(*setting))[0], recall):
                    (recall, query_map, songs), chosen = found, setting
        value, share, power = chosen
        # Scores are the same in any rotation; this one depends on nothing but the subspace.
        turn = turn_to_draws(songs).astype("float32")
        query_map, songs = query_map @ turn, songs @ turn
        together = (similarity @ songs)[: self.num_songs]
        neighbours = together / np.maximum(similarity.sums(), 1e-6)[:, None].astype("float32")
        part = _middle(config.spreads)
        if judge is not None:
            queries = kernel @ query_map
            recalls = {spread: judge.recall(queries, songs + spread * neighbours) for spread in config.spreads}
            part = first_best(recalls)
            recall = recalls[part]
        songs = (songs + part * neighbours).astype("float32")
        of_warm = ridge.of_first(self.num_songs)
        of_warm.set_ridge(value)
        self.query_map.assign(query_map)
        self.candidate_map.assign(of_warm.coefficients(songs))
        self.songs.assign(np.concatenate([np.zeros((1, self.embedding_dim), "float32"), songs]))
        weights = ops.convert_to_numpy(self.content.scales) ** 2
        return {
            "block_weights": {name: float(w) for name, w in zip(self.content.blocks, weights, strict=True)},
            "ridge": value,
            "own_share": share,
            "power": power,
            "spread": part,
            "validation_recall": recall if judge is not None else None,
        }

    def kernel(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the kernel of songs with the landmarks, `(n, number of landmarks)`."""
        products = ops.matmul(self.content(features), ops.transpose(self.landmarks))
        return products + ops.square(products)

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`; exact.

        With p the sum of the blocks' products with a landmark, the kernel is `p + p^2`, of which a block b has
        `p_b (1 + p)`: its own product, its square, and half of what it makes with each other block. That is its
        Shapley value where a block that is left out is missing, and a block that is missing has nothing.
        """
        products, start = [], 0
        for name, block in self.content.scaled_blocks(features).items():
            end = start + self.content.sizes[name]
            products.append(ops.matmul(block, ops.transpose(self.landmarks[:, start:end])))
            start = end
        total = 1.0 + sum(products)
        return ops.stack([ops.matmul(product * total, self.query_map) for product in products], axis=1)

    def _numpy_kernel(self, features: Mapping[str, Array]) -> Array:
        return np.asarray(ops.convert_to_numpy(self.kernel(features)))

    def call(self, features: Mapping[str, Tensor], training: bool = False) -> Tensor:
        """Embed songs, as queries or as candidates."""
        kernel = self.kernel(features)
        if "song_index" not in features:
            return ops.matmul(kernel, self.query_map)
        index = ops.convert_to_tensor(features["song_index"])
        known = ops.take(self.songs, index, axis=0)
        return ops.where((index > 0)[:, None], known, ops.matmul(kernel, self.candidate_map))

    def warm_candidates(self) -> Array:
        """Return the candidate embeddings of the warm songs, `(num_songs, embedding_dim)` float32."""
        return np.asarray(ops.convert_to_numpy(self.songs)[1:])

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, int]:
        """Return `(n, embedding_dim)`."""
        return (input_shape[self.fields[0].name][0], self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        fields = [field.to_dict() for field in self.fields]
        return {
            **super().get_config(),
            "fields": fields,
            "num_songs": self.num_songs,
            "config": self.config.to_dict(),
        }


def _rows(features: Mapping[str, Array], rows: Array) -> dict[str, Array]:
    return {name: values[rows] for name, values in features.items()}


def _check_rows(rows: Any, what: str, end: int) -> None:
    rows = np.asarray(rows)
    if len(rows) == 0 or rows.min() < 0 or rows.max() >= end:
        received = f"{rows.min()} to {rows.max()}" if len(rows) else "none"
        raise ValueError(f"Argument `similar` must hold {what}, 0 to {end - 1}. Received: {received}")


def _middle(values: tuple[float, ...]) -> float:
    return values[len(values) // 2]
