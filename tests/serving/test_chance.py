"""The signature `chance` of an evened model: interpolated chances by hand, blank places, and any `k`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bcl_keras.models import EvenedModel
from serving.client import Client
from serving.client.__main__ import main
from serving.export.chances import ChanceScale
from serving.savedmodel.raw_fields import encode_song
from serving.savedmodel.warmup_requests import warmed_signatures
from serving.server import EmbeddedServer
from tests.serving import small_export
from tests.serving.small_explained import NEW, SONGS, WARM, features, planted_model, served

SCALE = ChanceScale(
    typical=0.25,
    weights=(1.0, -0.5, 0.25, 0.125),
    sums=(-2.0, -1.0, 0.5),
    chances=(0.0, 0.25, 0.75),
    low=(0.0, 0.125, 0.5),
    high=(0.125, 0.5, 1.0),
)


@pytest.fixture(scope="module")
def model() -> EvenedModel:
    made = EvenedModel(planted_model())
    made.adapt(features(WARM), strength=0.5)
    return made


@pytest.fixture(scope="module")
def client(model: EvenedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = served(model, tmp_path_factory.mktemp("chance") / "bcl" / "1", explain=False, chances=SCALE)
    assert "chance" in warmed_signatures(str(path))
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(path.parent)) as server,
        Client(server.target) as running,
    ):
        yield running


def asked(client: Client, songs: list[dict[str, Any]], k: int) -> dict[str, np.ndarray]:
    raw = {field.name: field.to_array([song.get(field.name) for song in songs]) for field in small_export.FIELDS}
    per_song = {"k": np.full(len(songs), k, np.int32), "exclude": np.array([""] * len(songs), object)}
    return client.predict({**raw, **per_song}, signature="chance")


def by_hand(scores: np.ndarray, known: int, levels: tuple[float, ...]) -> list[float]:
    """The chances of one song from all its scores, best first."""
    shares = [score / SCALE.typical for score in scores]
    mean = sum(shares) / len(shares)
    found = []
    for place, share in enumerate(shares, start=1):
        total = math.log(max(share, 0.01)) - 0.5 * math.log(place + 2)
        total += 0.25 * math.log(max(mean, 0.01)) + 0.125 * math.log(1 + known)
        found.append(float(np.interp(total, SCALE.sums, levels)))
    return found


def test_chances_are_those_by_hand_and_scores_those_of_match(client: Client, model: EvenedModel) -> None:
    found = asked(client, NEW, SONGS - 1)
    _, scores = client.match(NEW, k=SONGS - 1)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-6)
    products = model.embed_songs(features(NEW)) @ model.warm_candidates().T
    np.testing.assert_allclose(found["scores"], -np.sort(-products, axis=1)[:, :-1], atol=1e-5)
    assert len(set(np.round(found["chance"].ravel(), 3))) > 5
    for row, known in enumerate(found["known_fields"]):
        for name, levels in (("chance", SCALE.chances), ("chance_low", SCALE.low), ("chance_high", SCALE.high)):
            expected = by_hand(found["scores"][row], int(known), levels)
            np.testing.assert_allclose(found[name][row], expected, atol=1e-4)


def test_the_client_gives_the_chances_of_the_signature(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    found, outputs = client.chances(NEW, k=4), asked(client, NEW, 4)
    ids, scores = client.match(NEW, k=4)
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    for name, values in (("chance", found.chance), ("chance_low", found.low), ("chance_high", found.high)):
        np.testing.assert_array_equal(values, outputs[name])
    song = json.dumps({**NEW[0], "song_id": "\u05e9 \u202e"})
    assert main(["match", f"--target={client.target}", "--song-json", song, "--k", "2", "--chances"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["song_id"] == "\u05e9 \u202e" and line["known_fields"] == found.known_fields[0]
    assert [match["song_id"] for match in line["matches"]] == ids[0, :2].tolist()
    assert [match["chance_high"] for match in line["matches"]] == pytest.approx(found.high[0, :2], abs=1e-6)


def test_bulk_matches_have_chances_by_hand(client: Client) -> None:
    examples = np.array([encode_song(song, small_export.FIELDS) for song in [{}, *NEW]], object)
    found = client.predict({"examples": examples}, "match_examples")
    for name, levels in (("chance", SCALE.chances), ("chance_low", SCALE.low), ("chance_high", SCALE.high)):
        assert found[name].shape == (len(NEW) + 1, SONGS) and found[name].dtype == np.float32
        for row, known in enumerate(found["known_fields"]):
            np.testing.assert_allclose(found[name][row], by_hand(found["scores"][row], int(known), levels), atol=1e-4)


def test_a_smaller_k_has_the_same_chances(client: Client) -> None:
    few, many = asked(client, NEW, 1), asked(client, NEW, SONGS - 1)
    for name in ("chance", "chance_low", "chance_high"):
        assert few[name].shape == (len(NEW), 1)
        np.testing.assert_allclose(few[name], many[name][:, :1], atol=1e-6)


def test_blank_places_have_no_chance(client: Client) -> None:
    found = asked(client, [{}, NEW[0]], 3)
    assert found["song_ids"][0].tolist() in ([b""] * 3, [""] * 3)
    for name in ("chance", "chance_low", "chance_high"):
        assert not found[name][0].any() and np.isfinite(found[name]).all()
    assert found["chance_high"][1].all()
