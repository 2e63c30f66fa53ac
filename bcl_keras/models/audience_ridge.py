"""A closed form from content to audiences, as a pair of embeddings like the two towers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from bcl_keras.blocks import in_blocks
from bcl_keras.checks import check_features, check_num_songs, check_pairs, check_validation
from bcl_keras.closed_form import AudienceSimilarity, Nystroem, Solution, solve
from bcl_keras.closed_form.solution import Queries
from bcl_keras.config import RidgeConfig
from bcl_keras.evaluation.choices import Judge, candidate_pool, choose_block_weights, judged_songs
from bcl_keras.fields import Array, Field, as_fields
from bcl_keras.layers.content_vector import ContentVector
from bcl_keras.models.song_model import SongModel

Tensor = Any

_CONTENT_LENGTH = 1.3  # mean squared length of the content: with its square the kernel's diagonal is about 3
_MOST_CANDIDATES = 8192  # most candidates used to choose the weights of the blocks
# What is chosen, and the config's values that it is chosen among.
_CHOSEN = {"ridge": "ridges", "own_share": "own_shares", "power": "powers", "spread": "spreads"}


@keras.saving.register_keras_serializable(package="bcl_keras")
class AudienceRidge(SongModel):
    """Predict which warm songs share an audience with a song, by kernel ridge regression on its content.

    The kernel is `K + K * K`, with K the products of joined content. Targets are the audience similarities of the warm
    songs, with columns of length one. Two embeddings keep the best approximation of the predictions of this rank: one
    of the content, one of the candidate, which also gets a share of its neighbours'. `adapt` solves for everything;
    nothing is trained by gradients.

    Args:
        fields: `Field` objects or their dicts.
        num_songs: Number of warm songs.
        config: Settings, or their dict. Defaults to `RidgeConfig()`.

    Call arguments:
        features: Dict of field name to values, and optionally `"song_index"`, integers `(n,)`: 1 .. num_songs for a
            warm song, 0 for one without plays, whose candidate embedding is then predicted from its content.

    Returns:
        Embeddings `(n, embedding_dim)` float32: with `song_index` of candidates, without it of queries.

    Examples:
        >>> from bcl_keras import Field
        >>> fields = [Field("genre", "category", 3), Field("tempo", "number")]
        >>> model = AudienceRidge(fields, num_songs=4, config={"rank": 2})
        >>> songs = {"genre": [1, 1, 2, 2], "tempo": [0.1, 0.2, 0.9, 1.0]}
        >>> chosen = model.adapt(songs, ([0, 1, 2, 3], [1, 0, 3, 2], [1.0, 1.0, 1.0, 1.0]))
        >>> chosen["ridge"]
        4.0
        >>> model.embed_songs({"genre": [1], "tempo": [0.15]}).shape
        (1, 2)

    References:
        Our choice; the paper has no such part. Measured in `benchmarks/quality`.
    """

    def __init__(
        self,
        fields: Sequence[Field | Mapping[str, Any]],
        num_songs: int,
        config: RidgeConfig | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.fields, self.num_songs = as_fields(fields), check_num_songs(num_songs)
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
            features: Field name to array of one row per song. Rows 0 .. num_songs - 1 are the warm songs. Further rows
                are training songs that are never retrieved, such as songs of few listeners.
            similar: Pairs of similar audience: any rows, rows of warm songs, similarities above 0. See `PairStream`.
            validation: Features of other songs and `(n, P)` rows of the warm songs they should retrieve, padded with
                -1. They decide among the config's values.
            chosen: What an earlier call returned for songs of the same fields. Its settings replace the config's
                values.

        Returns:
            What was chosen: `block_weights`, `ridge`, `own_share`, `power`, `spread`; and `validation_recall`.

        Raises:
            ValueError: If a field is absent, unknown or breaks its contract, there are fewer rows than warm songs,
                a pair or a positive names a row that does not exist, `chosen` is given with `validation`, or it lacks a
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
        similar = check_pairs(similar, num_rows, self.num_songs, "similar")
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
        queries = None
        if judged is not None:
            runs = in_blocks(np.arange(len(judged[1])))
            kernel = np.concatenate([self._numpy_kernel(_rows(judged[0], rows)) for rows in runs])
            queries = Queries(kernel, Judge(judged[1], config.k))
        return self._keep(solve(config, ridge, similarity, self.embedding_dim, queries))

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

    def _keep(self, solution: Solution) -> dict[str, Any]:
        """Keep the embeddings, and return what was chosen."""
        self.query_map.assign(solution.query_map)
        self.candidate_map.assign(solution.candidate_map)
        self.songs.assign(np.concatenate([np.zeros((1, self.embedding_dim), "float32"), solution.songs]))
        weights = ops.convert_to_numpy(self.content.scales) ** 2
        chosen = {name: getattr(solution, name) for name in (*_CHOSEN, "validation_recall")}
        return {
            "block_weights": {name: float(w) for name, w in zip(self.content.blocks, weights, strict=True)},
            **chosen,
        }

    def kernel(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the kernel of songs with the landmarks, `(n, number of landmarks)`."""
        products = ops.matmul(self.content(features), ops.transpose(self.landmarks))
        return products + ops.square(products)

    def block_parts(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the part of each block in the embeddings of queries, `(n, blocks, embedding_dim)`; exact.

        With p the sum of the blocks' products with a landmark, the kernel is `p + p^2`. A block b gets
        `p_b (1 + p)`: its own product, its square, and half of what it makes with each other block. That is its
        Shapley value, if a block that is left out counts as missing.
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

    def embed_features(self, features: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings of songs: of candidates if `song_index` is among the features, else of queries."""
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
