"""Explanations of matches by a server: shares add up to scores, and the planted field has the largest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import ops

from bcl_keras.models import JoinedModel
from serving.client import Client, UnknownSongWarning
from serving.client.__main__ import main
from serving.export.served_model import ServedModel
from serving.savedmodel.raw_fields import encode_song
from serving.savedmodel.warmup_requests import warmed_signatures
from serving.server import EmbeddedServer
from tests.serving import small_export
from tests.serving.small_explained import NEW, PARTS, SONGS, WARM, features, planted_model, served


@pytest.fixture(scope="module")
def joined() -> JoinedModel:
    return planted_model()


@pytest.fixture(scope="module")
def server(joined: JoinedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    path = served(joined, tmp_path_factory.mktemp("explain") / "bcl" / "1", explain=True)
    assert "explain" in warmed_signatures(str(path))
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(path.parent)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[Client]:
    with Client(server.target) as running:
        yield running


def expected(joined: JoinedModel, songs: list[dict[str, Any]]) -> np.ndarray:
    """`(songs, warm songs, parts)`."""
    tensors = {name: ops.convert_to_tensor(values) for name, values in features(songs).items()}
    parts = ops.convert_to_numpy(joined.query_parts(tensors))
    return np.einsum("npd,md->nmp", parts, joined.warm_candidates())


def test_shares_are_the_models_and_add_up_to_the_score_of_match(client: Client, joined: JoinedModel) -> None:
    found = client.explain(NEW, k=9)
    _, scores = client.match(NEW, k=9)  # the order of equal songs is free
    assert found.parts == PARTS and found.shares.shape == (len(NEW), 9, len(PARTS))
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    np.testing.assert_allclose(found.shares.sum(axis=2), scores, atol=1e-5)
    rows = [[[song["song_id"] for song in WARM].index(song_id) for song_id in row] for row in found.ids]
    want = np.take_along_axis(expected(joined, NEW), np.array(rows)[:, :, None], axis=1)
    np.testing.assert_allclose(found.shares, want, atol=1e-5)
    same_genre = np.array(rows) % 3 == np.arange(len(NEW))[:, None] % 3
    assert same_genre.all() and (np.argmax(found.shares, axis=2) == 0).all()  # the planted field


def test_bulk_matches_have_shares_and_evidence(client: Client, joined: JoinedModel) -> None:
    examples = np.array([encode_song(song, small_export.FIELDS) for song in [*NEW, {}]], object)
    found = client.predict({"examples": examples}, "match_examples")
    assert found["share_names"].tolist() == [[name.encode() for name in PARTS]] * len(examples)
    assert found["evidence_names"].tolist() == [[b"deviation_0"]] * len(examples)
    np.testing.assert_allclose(found["shares"].sum(axis=2), found["scores"], atol=1e-5)
    order = np.argsort(-expected(joined, NEW).sum(axis=2), axis=1, kind="stable")
    want = np.take_along_axis(expected(joined, NEW), order[:, :, None], axis=1)
    np.testing.assert_allclose(found["shares"][:-1].sum(axis=2), want.sum(axis=2), atol=1e-5)
    assert np.abs(found["shares"][-1]).max() == 0 and found["known_fields"][-1] == 0
    assert (found["evidence"][:-1] > found["evidence"][-1]).all()


@pytest.mark.parametrize("k", [1, 3, 29, 1000])
def test_a_song_of_the_index_is_never_explained_by_itself(client: Client, k: int) -> None:
    found = client.explain(WARM, k=k)
    assert found.shares.shape == (SONGS, min(k, SONGS - 1), len(PARTS))
    assert not (found.ids == np.array([[song["song_id"]] for song in WARM])).any()
    assert (np.diff(found.scores, axis=1) <= 1e-6).all()
    _, scores = client.match(WARM, k=k)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)


def test_rows_of_split_batches_keep_their_shares(server: EmbeddedServer, client: Client) -> None:
    with Client(server.target, max_rows=2) as split:
        parts, whole = split.explain(NEW, k=4), client.explain(NEW, k=4)
    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-6)
    np.testing.assert_allclose(parts.shares.sum(axis=2), whole.scores, atol=1e-5)
    assert client.explain([], k=4).parts == ()


def test_a_song_without_known_fields_gives_a_warning(client: Client) -> None:
    with pytest.warns(UnknownSongWarning):
        found = client.explain([{}], k=2)
    assert np.abs(found.shares).max() == 0


def test_the_command_shows_shares(server: EmbeddedServer, capsys: pytest.CaptureFixture[str]) -> None:
    song = json.dumps({"attribute_genre": "jazz", "audio_tempo": 0.5})
    assert main(["match", f"--target={server.target}", "--song-json", song, "--k", "2", "--why"]) == 0
    first, _ = json.loads(capsys.readouterr().out)["matches"]
    assert tuple(first["shares"]) == PARTS
    assert sum(first["shares"].values()) == pytest.approx(first["score"], abs=1e-5)
    assert max(first["shares"], key=first["shares"].get) == "attribute_genre"


def test_the_signature_exists_only_if_asked_for(joined: JoinedModel, tmp_path: Path) -> None:
    path = served(joined, tmp_path / "bcl" / "1", explain=False, integer_ids=True)
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(path.parent)) as server,
        Client(server.target) as client,
    ):
        with pytest.raises(ValueError, match=r"`signature` must be one of .* Received: 'explain'"):
            client.explain(NEW)
        assert main(["match", f"--target={server.target}", "--song-json", "{}", "--why"]) == 2
    with pytest.raises(ValueError, match=r"`explain` needs a model with `query_parts`. Received: Towers"):
        ServedModel(
            fields=small_export.FIELDS,
            transform=small_export.Transform(),
            model=small_export.Towers(small_export.Tower(), small_export.Tower(2)),
            warm_ids=["a", "b"],
            index_ids=["a", "b"],
            index_embeddings=np.eye(2, small_export.WIDTH, dtype=np.float32),
            explain=True,
        )
