"""The songs and pairs that the Trainer learns from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import bcl_keras
from tests.vector_lengths import LENGTHS
from tfx_pipeline.models import closed_form
from tfx_pipeline.models.closed_form import join, solve_ridge
from tfx_pipeline.models.song_table import SongTable
from tfx_pipeline.models.trainer import train
from tfx_pipeline.models.training_songs import TrainingSongs, similar_pairs

GENRES, WARM = 6, 60
FIELDS = [bcl_keras.Field("attribute_genre", "category", GENRES + 1), bcl_keras.Field("audio_tempo", "number")]


def table(prefix: str, split: str, genres: np.ndarray, likes: np.ndarray) -> SongTable:
    """Songs of some genres whose listeners play the first five warm songs of the genre that they like."""
    count = len(genres)
    similar = np.array([[b"w%03d" % (GENRES * place + like) for place in range(5)] for like in likes.tolist()])
    return SongTable(
        ids=np.array([f"{prefix}{place:03}".encode() for place in range(count)]),
        splits=np.full(count, split),
        features={
            "attribute_genre": (1 + genres).astype("int32"),
            "audio_tempo": np.random.default_rng(count).normal(size=count).astype("float32"),
        },
        listeners=np.full(count, 2),
        similar_ids=similar.reshape(count, 5),
        similar_scores=np.full((count, 5), 0.5, "float32"),
    )


def songs(sparse_likes: int, sparse: int = 200) -> TrainingSongs:
    """Sparse songs' listeners like the genre `sparse_likes` further on than the song's own."""
    genres = np.arange(WARM) % GENRES
    of_sparse = np.arange(sparse) % GENRES
    return TrainingSongs(
        warm=table("w", "warm", genres, genres),
        sparse=table("s", "sparse", of_sparse, (of_sparse + sparse_likes) % GENRES),
        validation=table("v", "val", np.arange(12) % GENRES, np.arange(12) % GENRES),
    )


CONFIG = bcl_keras.models.RidgeConfig(k=6, ridges=(1.0,), own_shares=(0.0,), powers=(0.0,), spreads=(0.0,))


@pytest.mark.parametrize(("likes", "kept"), [(0, 200), (1, 0)])
def test_validation_songs_decide_whether_sparse_songs_help(likes: int, kept: int) -> None:
    given = songs(likes)
    ridge, chosen, learnt = solve_ridge(FIELDS, CONFIG, given)
    assert len(learnt.sparse) == kept and learnt.warm is given.warm
    with_them, without = chosen["recall_with_sparse_songs"], chosen["recall_without_them"]
    assert without > 0.9 and chosen["validation_recall"] == max(with_them, without)
    assert (with_them >= without) == bool(kept)
    assert ridge.num_songs == WARM


def test_nothing_is_chosen_where_there_is_no_choice() -> None:
    given = songs(0, sparse=0)
    _, chosen, learnt = solve_ridge(FIELDS, CONFIG, given)
    assert learnt is given and "recall_with_sparse_songs" not in chosen
    nobody = dataclasses.replace(given.validation, similar_ids=np.full((12, 5), b""))
    _, chosen, learnt = solve_ridge(FIELDS, CONFIG, dataclasses.replace(songs(1), validation=nobody))
    assert len(learnt.sparse) == 200 and chosen["validation_recall"] is None


def test_fewer_similar_songs_than_others_have_make_no_pair() -> None:
    """The first warm song's id is what numpy pads bytes with."""
    given = songs(0, sparse=4)
    names = given.warm.ids.copy()
    names[0] = b"0"
    few = dataclasses.replace(
        given.sparse, similar_ids=given.sparse.similar_ids[:, :2], similar_scores=given.sparse.similar_scores[:, :2]
    )
    anchors, _, weights = similar_pairs(
        dataclasses.replace(given, warm=dataclasses.replace(given.warm, ids=names), sparse=few), 5
    )
    assert (weights > 0).all() and np.bincount(anchors, minlength=WARM + 4)[WARM:].max() == 2


def test_pairs_of_sparse_songs_follow_those_of_warm_songs() -> None:
    given = songs(1, sparse=4)
    anchors, positives, weights = similar_pairs(given, 3)
    assert (anchors[: 3 * WARM] < WARM).all() and anchors[3 * WARM :].tolist() == np.repeat(
        WARM + np.arange(4), 3
    ).tolist()
    assert positives[3 * WARM :].tolist() == [GENRES * place + like for like in (1, 2, 3, 4) for place in range(3)]
    assert (weights == 0.5).all()
    nothing = dataclasses.replace(given.warm, similar_ids=np.full((WARM, 5), b""))
    with pytest.raises(ValueError, match="expected warm songs that share listeners more often than by chance"):
        similar_pairs(dataclasses.replace(given, warm=nothing), 3)


@pytest.mark.parametrize(("shift", "dim", "joined"), [(0, 32, 0), (1, 32, 32), (1, None, 0)])
def test_plain_content_is_joined_where_what_was_learnt_misleads(
    monkeypatch: pytest.MonkeyPatch, shift: int, dim: int | None, joined: int
) -> None:
    """With a shift, warm songs' listeners like the next genre, and those of validation songs their own."""
    monkeypatch.setattr(closed_form, "VALIDATION_K", CONFIG.k)  # 50 of 60 songs would leave nothing to choose
    genres = np.arange(WARM) % GENRES
    given = dataclasses.replace(songs(0, sparse=0), warm=table("w", "warm", genres, (genres + shift) % GENRES))
    ridge, chosen, _ = solve_ridge(FIELDS, CONFIG, given)
    towers = bcl_keras.models.BCLModel(FIELDS, WARM, bcl_keras.BCLConfig(embedding_dim=8, field_dim=8))
    towers.set_catalogue(given.warm.features)
    model, report = join(ridge, towers, given, chosen["block_weights"], dim)
    assert report["content_sketch"] == joined and len(model.models) == len(report["weights"]) == (3 if joined else 2)
    assert model.embedding_dim == ridge.embedding_dim + 8 + joined


def with_vectors(given: SongTable) -> SongTable:
    """The same songs with a vector of each length, of which the first and the last number alone tell the genre."""
    rng, genres = np.random.default_rng(len(given)), given.features["attribute_genre"]
    vectors = {}
    for length in LENGTHS:
        values = 0.01 * rng.normal(size=(len(given), length))
        values[:, -1] += genres
        values[:, 0] += genres
        vectors[f"audio_v{length}"] = values.astype("float32")
    return dataclasses.replace(given, features={"audio_tempo": given.features["audio_tempo"], **vectors})


@pytest.mark.parametrize("sparse", [0, 40])
def test_vectors_of_any_length_are_learnt_from(sparse: int) -> None:
    plain = songs(0, sparse)
    given = TrainingSongs(*(with_vectors(part) for part in (plain.warm, plain.sparse, plain.validation)))
    assert {name: values.shape[1:] for name, values in given.learnt_features().items()} == {
        "audio_tempo": (),
        **{f"audio_v{length}": (length,) for length in LENGTHS},
    }
    fields = [bcl_keras.Field("audio_tempo", "number")]
    fields += [bcl_keras.Field(f"audio_v{length}", "vector", length) for length in LENGTHS]
    ridge, chosen, learnt = solve_ridge(fields, CONFIG, given)
    assert ridge.content.dim == 1 + sum(LENGTHS) and chosen["validation_recall"] > 0.3
    config = bcl_keras.BCLConfig(epochs=1, batch_size=16, embedding_dim=8, field_dim=8, hidden_dims=(8,))
    towers = train(fields, config, learnt, positives=5, anchor_popularity_power=0.0)
    assert np.isfinite(towers.warm_candidates()).all()
