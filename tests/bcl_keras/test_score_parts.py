"""The parts of a score: Shapley values worked out coalition by coalition, sums, and planted fields that decide."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from math import comb

import keras
import numpy as np
import pytest
import small_catalogue as small
from keras import ops

from bcl_keras import BCLConfig, Field
from bcl_keras.fields import blocks_of
from bcl_keras.models import AudienceRidge, BCLModel, JoinedModel, RidgeConfig
from bcl_keras.models.song_model import REST

SONGS, LONG = 40, 384
Features = dict[str, np.ndarray]
FIELDS = (*small.FIELDS, Field("audio_energy", "number"), Field("lyric_vector", "vector", LONG))
ONE_BLOCK = (Field("audio_tempo", "number"), Field("audio_energy", "number"))
SHAPES = {"all": FIELDS, "two blocks": small.FIELDS[:2], "one block": ONE_BLOCK}


def catalogue(fields: Collection[Field], songs: int = SONGS, seed: int = 0) -> Features:
    rng = np.random.default_rng(seed)
    more = {
        "audio_energy": rng.normal(size=songs).astype("float32"),
        "lyric_vector": rng.normal(size=(songs, LONG)).astype("float32"),
    }
    more["lyric_vector"][::7, 5] = np.nan
    everything = small.features(songs, seed) | more
    return {field.name: everything[field.name] for field in fields}


def only(features: Features, fields: Collection[Field], kept: Collection[str]) -> Features:
    """The songs as if they had the kept fields alone."""
    return {
        field.name: features[field.name]
        if field.name in kept
        else np.full_like(features[field.name], 0 if field.is_categorical else np.nan)
        for field in fields
    }


def ridge_of(fields: Sequence[Field]) -> AudienceRidge:
    model = AudienceRidge(fields, SONGS, RidgeConfig(rank=12))
    rng = np.random.default_rng(1)
    pairs = (np.repeat(np.arange(SONGS), 3), rng.integers(0, SONGS, 3 * SONGS), rng.uniform(0.1, 1, 3 * SONGS))
    model.adapt(catalogue(fields), pairs)
    return model


def towers_of(fields: Sequence[Field]) -> BCLModel:
    model = BCLModel(fields, SONGS, BCLConfig(embedding_dim=8, field_dim=6, hidden_dims=(12,)))
    model.set_catalogue(catalogue(fields))
    for place, variable in enumerate(model.song_tower.trainable_variables):
        variable.assign(np.random.default_rng(place).normal(size=variable.shape))
    return model


def joined_of(fields: Sequence[Field], weights: tuple[float, float] = (1.0, 0.5)) -> JoinedModel:
    model = JoinedModel([ridge_of(fields), towers_of(fields)])
    model.adapt(weights=weights)
    return model


def tensors(features: Features) -> Features:
    return {name: ops.convert_to_tensor(values) for name, values in features.items()}


def embed(model: keras.Model, features: Features) -> np.ndarray:
    return ops.convert_to_numpy(model.embed_features(tensors(features)))


def parts_of(model: keras.Model, features: Features) -> np.ndarray:
    return ops.convert_to_numpy(model.query_parts(tensors(features)))


def shapley(value: Callable[[Features], np.ndarray], features: Features, fields: Collection[Field]) -> np.ndarray:
    """`(n, blocks, d)` by the definition: the mean of what a block adds, over all orders in which blocks may come."""
    blocks = {name: {field.name for field in block} for name, block in blocks_of(tuple(fields)).items()}
    values = {}
    for size in range(len(blocks) + 1):
        for some in itertools.combinations(blocks, size):
            kept = set().union(*(blocks[name] for name in some))
            values[frozenset(some)] = value(only(features, fields, kept))
    parts = []
    for name in blocks:
        without = [some for some in values if name not in some]
        added = [
            (values[some | {name}] - values[some]) / (len(blocks) * comb(len(blocks) - 1, len(some)))
            for some in without
        ]
        parts.append(sum(added))
    return np.stack(parts, axis=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_parts_of_the_closed_form_are_shapley_values_and_leave_no_rest(shape: str) -> None:
    fields = SHAPES[shape]
    model, songs = ridge_of(fields), catalogue(fields, 9, seed=5)
    parts = parts_of(model, songs)
    expected = shapley(lambda given: embed(model, given), songs, fields)
    size = np.abs(expected).max()
    # All numbers are one unit vector: a song that has some of them is no sum of songs that have one.
    np.testing.assert_allclose(parts[:, :-1], expected, atol=2e-5 * size)
    np.testing.assert_allclose(parts[:, -1], 0, atol=2e-5 * size)


@pytest.mark.parametrize("shape", ["two blocks", "one block"])
def test_parts_of_towers_of_two_blocks_are_shapley_values(shape: str) -> None:
    fields = SHAPES[shape]
    model, songs = towers_of(fields), catalogue(fields, 9, seed=5)
    parts = parts_of(model, songs)
    np.testing.assert_allclose(parts[:, :-1], shapley(lambda given: embed(model, given), songs, fields), atol=1e-5)
    nothing = embed(model, only(songs, fields, ()))
    np.testing.assert_allclose(parts[:, -1], nothing, atol=1e-5)


def test_parts_of_towers_are_what_a_block_adds_at_first_and_at_last() -> None:
    model, songs = towers_of(FIELDS), catalogue(FIELDS, 9, seed=5)
    names = [field.name for field in FIELDS]
    parts = parts_of(model, songs)
    for place, (name, block) in enumerate(blocks_of(FIELDS).items()):
        own = {field.name for field in block}
        first = embed(model, only(songs, FIELDS, own)) - embed(model, only(songs, FIELDS, ()))
        last = embed(model, songs) - embed(model, only(songs, FIELDS, set(names) - own))
        np.testing.assert_allclose(parts[:, place], (first + last) / 2, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (1.0, 0.5), (0.0, 1.0)])
def test_parts_of_the_joined_score_are_the_models_parts_on_its_scales(weights: tuple[float, float]) -> None:
    model, songs = joined_of(FIELDS, weights), catalogue(FIELDS, 9, seed=5)
    parts, whole = parts_of(model, songs), embed(model, songs)
    expected, query = [], []
    for weight, part in zip(weights, model.models, strict=True):
        found = embed(part, songs)
        deviation = (found @ part.warm_candidates().T).std(axis=1, keepdims=True)
        query.append(weight * found / deviation)
        expected.append(weight * parts_of(part, songs) / deviation[:, None])
    length = np.linalg.norm(np.concatenate(query, axis=1), axis=1)
    np.testing.assert_allclose(parts, np.concatenate(expected, axis=2) / length[:, None, None], atol=1e-4)
    np.testing.assert_allclose(parts.sum(axis=1), whole, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("made", [ridge_of, towers_of, joined_of])
def test_shares_add_up_to_the_score_and_missing_blocks_have_none(made: Callable, shape: str) -> None:
    fields = SHAPES[shape]
    model, songs = made(fields), catalogue(fields, 30, seed=3)
    for row, field in enumerate(fields):  # one song for each field that has nothing else, and one without any
        songs = {
            name: np.concatenate([values, only({**songs}, fields, {field.name})[name][row : row + 1]])
            for name, values in songs.items()
        }
    songs = {name: np.concatenate([v, only(songs, fields, ())[name][:1]]) for name, v in songs.items()}
    parts = parts_of(model, songs)
    assert parts.shape[1] == len(model.part_names) and model.part_names[-1] == REST
    shares = parts @ model.warm_candidates().T
    np.testing.assert_allclose(shares.sum(axis=1), embed(model, songs) @ model.warm_candidates().T, atol=1e-5)
    for place, block in enumerate(blocks_of(tuple(fields)).values()):
        known = np.zeros(len(parts), bool)
        for field in block:
            values = songs[field.name].reshape(len(parts), -1)
            known |= (values > 0).any(axis=1) if field.is_categorical else ~np.isnan(values).any(axis=1)
        assert np.abs(parts[~known, place]).max(initial=0) < 1e-6
        assert np.abs(parts[known, place]).max() > 1e-3
    assert np.abs(parts[-1, :-1]).max() < 1e-6  # of a song of which nothing is known the rest is all


def test_the_field_that_decides_gets_the_share() -> None:
    """Audiences follow the genre alone: tags, tempo and timbre are noise of their own."""
    rng = np.random.default_rng(0)
    songs, groups = 120, 5
    genre = np.arange(songs) % groups + 1
    noise = catalogue(FIELDS, songs, seed=11)
    noise["attribute_tags"] = rng.integers(1, 13, (songs, 3)).astype("int32")
    songs_of = {**noise, "attribute_genre": genre.astype("int32")}
    anchors, others = np.nonzero((genre[:, None] == genre[None, :]) & ~np.eye(songs, dtype=bool))
    model = AudienceRidge(FIELDS, 100, RidgeConfig(rank=20))
    learnt = (anchors < 100) & (others < 100)
    model.adapt(
        {name: values[:100] for name, values in songs_of.items()},
        (anchors[learnt], others[learnt], np.ones(learnt.sum())),
    )
    new = {name: values[100:] for name, values in songs_of.items()}
    scores = embed(model, new) @ model.warm_candidates().T
    best = np.argsort(-scores, axis=1)[:, :10]
    right = genre[:100][best] == genre[100:, None]
    shares = np.einsum("npd,nkd->nkp", parts_of(model, new), model.warm_candidates()[best])
    of_score = shares[..., model.part_names.index("attribute_genre")] / shares.sum(axis=2)
    assert right.mean() > 0.8
    assert (np.argmax(shares, axis=2)[right] == model.part_names.index("attribute_genre")).mean() > 0.95
    assert np.median(of_score[right]) > 0.6


def test_evidence_is_the_deviation_and_the_correlation_of_all_scores() -> None:
    model, songs = joined_of(FIELDS, (1.0, 0.0)), catalogue(FIELDS, 12, seed=5)
    assert model.evidence_names == ("deviation_0", "deviation_1", "agreement_0_1")
    found = ops.convert_to_numpy(model.evidence(tensors(songs)))
    scores = [embed(part, songs) @ part.warm_candidates().T for part in model.models]
    expected = [scores[0].std(axis=1), scores[1].std(axis=1)]
    expected.append([np.corrcoef(left, right)[0, 1] for left, right in zip(*scores, strict=True)])
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-4)
    nothing = ops.convert_to_numpy(model.evidence(tensors(only(songs, FIELDS, ()))))
    assert np.isfinite(nothing).all()
    alone = JoinedModel(model.models[:1])
    alone.adapt()
    assert alone.evidence_names == ("deviation_0",)
    np.testing.assert_allclose(ops.convert_to_numpy(alone.evidence(tensors(songs)))[:, 0], expected[0], atol=1e-4)


def test_names_of_parts_are_one_each() -> None:
    numbers = Field("numbers", "category", 3)
    with pytest.raises(ValueError, match="no field 'numbers' beside single numbers"):
        AudienceRidge([numbers, Field("tempo", "number")], 4)
    AudienceRidge([numbers, Field("tempo", "vector", 2)], 4)
    with pytest.raises(ValueError, match="no field 'rest'"):
        AudienceRidge([Field("rest", "vector", 3), Field("tempo", "vector", 2)], 4).part_names  # noqa: B018
