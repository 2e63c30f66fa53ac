"""REST on a real export: songs that lack fields, lists of different length, errors that name song and field."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_export

from serving.server import EmbeddedServer
from tests.waiting import LAST_RESORT

SONGS = small_export.catalogue(40)
NAMES = [field.name for field in small_export.FIELDS]


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(SONGS)


@pytest.fixture(scope="module")
def base(exported: small_export.SmallExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.export(tmp_path_factory.mktemp("songs") / "bcl" / "1").parent


@pytest.fixture(scope="module")
def lenient(base: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base)) as server:
        yield server


@pytest.fixture(scope="module")
def strict(base: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(
        port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(base), rest_api_strict=True
    ) as server:
        yield server


def ask(server: EmbeddedServer, signature: str, **body: Any) -> Any:
    """Returns the reply, or the text of an error with status 400."""
    return send(server, json.dumps({"signature_name": signature, **body}).encode())


def send(server: EmbeddedServer, data: bytes) -> Any:
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/bcl:predict"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=LAST_RESORT) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as refusal:
        status, body = refusal.code, json.load(refusal)
    assert status == 400
    return body["error"]


def songs_with_holes() -> list[dict[str, Any]]:
    """Fields left out, null, empty; words of any Unicode; lists from none to seven words."""
    songs = [{name: song[name] for name in NAMES} for song in small_export.catalogue(25, seed=4)]
    for number, song in enumerate(songs):
        song["attribute_tags"] = [None, [], ["t"], ["\N{MUSICAL NOTE}", "t"], ["t"] * 7][number % 5]
        if number % 4 == 0:
            del song[NAMES[number // 4 % 4]]
    return [*songs, {}, dict.fromkeys(NAMES)]


def test_rows(lenient: EmbeddedServer, exported: small_export.SmallExport) -> None:
    songs = songs_with_holes()
    reply = ask(lenient, "embed", instances=songs)["predictions"]
    np.testing.assert_allclose([row["embedding"] for row in reply], exported.embed(songs), atol=1e-5)
    assert reply[-1]["known_fields"] == reply[-2]["known_fields"] == 0


def test_columns(lenient: EmbeddedServer, exported: small_export.SmallExport) -> None:
    songs = songs_with_holes()
    columns = {name: [song.get(name) for song in songs] for name in NAMES}
    reply = ask(lenient, "embed", inputs=columns)["outputs"]
    np.testing.assert_allclose(reply["embedding"], exported.embed(songs), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_be_left_out_or_null(
    lenient: EmbeddedServer, exported: small_export.SmallExport, name: str
) -> None:
    songs = [{**song, name: None} for song in songs_with_holes()]
    columns: dict[str, Any] = {other: [song.get(other) for song in songs] for other in NAMES if other != name}
    expected = exported.embed(songs)
    for body in (columns, {**columns, name: None}):
        np.testing.assert_allclose(ask(lenient, "embed", inputs=body)["outputs"]["embedding"], expected, atol=1e-5)


def test_a_vector_with_a_hole_is_missing(lenient: EmbeddedServer) -> None:
    (row, whole) = ask(lenient, "embed", instances=[{"lyric_vector": [1.0, None, 2.0]}, {"lyric_vector": [1, 2, 3]}])[
        "predictions"
    ]
    assert (row["known_fields"], whole["known_fields"]) == (0, 1)


def test_exclude_may_be_left_out(lenient: EmbeddedServer, exported: small_export.SmallExport) -> None:
    order = np.argsort(-(exported.embed([{"audio_tempo": 1.0}]) @ exported.index.T)[0])
    best = [exported.ids[row] for row in order[:3]]
    rows = [{"audio_tempo": 1.0, "k": 2, **exclude} for exclude in ({}, {"exclude": None}, {"exclude": best[0]})]
    reply = ask(lenient, "match", instances=rows)["predictions"]
    assert [row["song_ids"] for row in reply] == [best[:2], best[:2], best[1:]]
    for exclude, expected in (({}, best[:2]), ({"exclude": None}, best[:2]), ({"exclude": [best[0]]}, best[1:])):
        reply = ask(lenient, "match", inputs={"audio_tempo": [1.0], "k": [2], **exclude})["outputs"]
        assert reply["song_ids"] == [expected]


def test_exclude_of_an_index_with_integers(tmp_path: Path) -> None:
    export = small_export.SmallExport(SONGS[:5], integer_ids=True)
    export.export(tmp_path / "bcl" / "1")
    songs = [{"audio_tempo": 1.0, "k": 4, **exclude} for exclude in ({}, {"exclude": 2})]
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(tmp_path / "bcl")) as server:
        rows = ask(server, "match", instances=songs)["predictions"]
    assert len(set(rows[0]["song_ids"]) - {-1}) == 4 and 2 not in rows[1]["song_ids"]


def portable(songs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same songs in the form that TensorFlow Serving accepts."""
    missing: dict[str, Any] = {
        "attribute_genre": "",
        "audio_tempo": math.nan,
        "lyric_vector": [math.nan] * 3,
        "attribute_tags": [],
    }
    rows: list[dict[str, Any]] = [
        {name: song.get(name) if song.get(name) is not None else missing[name] for name in NAMES} for song in songs
    ]
    return [{**row, "attribute_tags": (["", *row["attribute_tags"]] + [""] * 8)[:8]} for row in rows]


def test_a_strict_server_takes_the_portable_form_alone(lenient: EmbeddedServer, strict: EmbeddedServer) -> None:
    songs = songs_with_holes()
    expected = ask(lenient, "embed", instances=songs)
    assert ask(strict, "embed", instances=portable(songs)) == expected
    assert ask(lenient, "embed", instances=portable(songs)) == expected
    whole = portable([{}])[0]
    for song, text in (
        ({**whole, "audio_tempo": None}, "JSON Value: null Type: Null is not of expected type: float"),
        ({name: whole[name] for name in NAMES[1:]}, "must only have keys: "),
        ({**whole, "attribute_tags": ["t"]}, "Expecting tensor size: 8 but got: 1"),
    ):
        assert text in ask(strict, "embed", instances=[whole, song])
        assert "predictions" in ask(lenient, "embed", instances=[whole, song])


def test_signatures_without_fields_of_songs_are_as_in_tensorflow_serving(lenient: EmbeddedServer) -> None:
    assert "JSON Value: null Type: Null is not of expected type: string" in ask(
        lenient, "serving_default", instances=[{"examples": None}]
    )
    assert "must only have keys: examples" in ask(lenient, "serving_default", instances=[{}])


WRONG = [
    ("attribute_genre", 3, "JSON Value: 3 Type: Number is not of expected type: string"),
    ("attribute_genre", ["rock"], "expected a string, or null. Received: ["),
    ("attribute_genre", {"a": 1}, "not formatted correctly for base64 data"),
    ("attribute_tags", "t", 'expected a list of strings, or null. Received: "t"'),
    ("attribute_tags", ["t", 1.5], "JSON Value: 1.5 Type: Number is not of expected type: string"),
    ("attribute_tags", [["t"]], "Type: Array is not of expected type: string"),
    ("audio_tempo", "96", 'JSON Value: "96" Type: String is not of expected type: float'),
    ("audio_tempo", True, "JSON Value: true Type: True is not of expected type: float"),
    ("audio_tempo", [96.0], "expected a number, or null. Received: ["),
    ("audio_tempo", 1e39, "Cannot convert JSON value: 1e+39 to float without loss of precision."),
    ("audio_tempo", 2**30, "Cannot convert JSON value: 1073741824 to float without loss of precision."),
    ("lyric_vector", 1.0, "expected a list of 3 numbers, or null. Received: 1.0"),
    ("lyric_vector", [1.0, 2.0], "expected a list of 3 numbers, or null. Received: 2 of them"),
    ("lyric_vector", [], "expected a list of 3 numbers, or null. Received: 0 of them"),
    ("lyric_vector", [1.0, "2", 3.0], 'JSON Value: "2" Type: String is not of expected type: float'),
    ("lyric_vector", [1.0, [2.0], 3.0], "Type: Array is not of expected type: float"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG)
def test_wrong_values_are_named_by_song_and_field(lenient: EmbeddedServer, name: str, value: Any, text: str) -> None:
    error = ask(lenient, "embed", instances=[{}, {}, {name: value}])
    assert error.startswith(f"Failed to process element: 2 key: {name} of 'instances' list. Error: INVALID_ARGUMENT: ")
    assert text in error
    error = ask(lenient, "embed", inputs={name: [None, None, value]})
    assert error.startswith(f"Failed to process element: 2 of {name} in 'inputs' object. Error: INVALID_ARGUMENT: ")
    assert text in error


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"instances": [{"k": 1}, {"atribute_genre": "rock", "k": 1}]},
            "element: 1 key: atribute_genre of 'instances'",
        ),
        (
            {"instances": [{"k": 1}, {}]},
            "element: 1 key: k of 'instances' list. Error: INVALID_ARGUMENT: Missing named",
        ),
        (
            {"inputs": {"atribute_genre": ["rock"], "k": [1]}},
            "does not have named input: atribute_genre. Inputs of the",
        ),
        ({"inputs": {"audio_tempo": [1.0]}}, "Missing named input: k in 'inputs' object."),
        (
            {"inputs": {"audio_tempo": [1.0, 2.0], "attribute_genre": ["rock"], "k": [1]}},
            "expected 1 values of audio_tempo, as many as of attribute_genre. Received: 2",
        ),
        ({"inputs": {"audio_tempo": 1.0, "k": [1]}}, "expected audio_tempo to be a list with a value for each song."),
        ({"instances": [{"k": 1}, 7]}, "Expecting object but got list at item 1 of input list"),
        ({"instances": [7, {"k": 1}]}, "instances is a plain list, but expecting list of objects"),
        ({"instances": []}, "No values in 'instances' array"),
    ],
)
def test_bodies_that_are_wrong(lenient: EmbeddedServer, body: dict[str, Any], text: str) -> None:
    assert text in ask(lenient, "match", **body)


def test_no_field_at_all(lenient: EmbeddedServer) -> None:
    """The number of songs is that of the other inputs."""
    reply = ask(lenient, "match", inputs={"k": [1, 1, 1]})["outputs"]
    assert len(reply["song_ids"]) == 3 and reply["known_fields"] == [0, 0, 0]


def test_names_that_are_no_utf8(lenient: EmbeddedServer) -> None:
    for body in (b'"instances": [{"\xff": 1}]', b'"inputs": {"\xff": [1]}'):
        error = send(lenient, b'{"signature_name": "embed", ' + body + b"}")
        assert "is not valid UTF-8, as a name must be" in error or "does not have named input" in error
