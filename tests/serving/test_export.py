"""The exported model: signatures, ids of both types, bounds of `match`, warm-up requests, stock operations."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_export
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.client import AsyncClient, Client, ServingError, UnknownSongWarning
from serving.client.__main__ import main
from serving.export import served_model as export_module
from serving.export.served_model import as_ids
from serving.savedmodel.raw_fields import RawField, encode_song, fields_of, integer_id
from serving.savedmodel.warmup_requests import REQUESTS_FILE, warmed_signatures
from serving.server import EmbeddedServer, RequestError

SONGS = small_export.catalogue(40)
SIGNATURES = {"serving_default", "candidate", "match_examples", "embed", "match", "match_unknown"}


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(SONGS)


@pytest.fixture(scope="module")
def folder(exported: small_export.SmallExport, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.export(tmp_path_factory.mktemp("export") / "bcl" / "1")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent)) as server,
        Client(server.target) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("numbered") / "bcl" / "1"
    small_export.SmallExport(SONGS, integer_ids=True).export(path)
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(path.parent)) as server,
        Client(server.target) as running,
    ):
        yield running


def ranked(exported: small_export.SmallExport, song: dict[str, Any]) -> list[int]:
    scores = exported.embed([song])[0] @ exported.index.T
    return np.argsort(-scores, kind="stable").tolist()


def test_documented_names_types_and_shapes(client: Client) -> None:
    signatures = client.metadata()
    assert set(signatures) == SIGNATURES
    raw = {
        "attribute_genre": "string (?)",
        "attribute_tags": "string (?, ?)",
        "audio_tempo": "float (?)",
        "lyric_vector": "float (?, 3)",
    }

    def texts(part: Any) -> dict[str, str]:
        return {name: str(spec) for name, spec in part.items()}

    assert texts(signatures["embed"].inputs) == raw
    assert texts(signatures["match"].inputs) == {**raw, "k": "int32 (?)", "exclude": "string (?)"}
    known = {"known_fields": "int32 (?)"}
    assert signatures["match_unknown"].inputs == signatures["match"].inputs
    for name in ("match", "match_unknown", "match_examples"):
        assert texts(signatures[name].outputs) == {**known, "song_ids": "string (?, ?)", "scores": "float (?, ?)"}
    for name in ("serving_default", "candidate", "match_examples"):
        assert texts(signatures[name].inputs) == {"examples": "string (?)"}
    for name in ("serving_default", "candidate", "embed"):
        assert texts(signatures[name].outputs) == {**known, "embedding": "float (?, 6)"}


def test_every_signature_equals_numpy(client: Client, exported: small_export.SmallExport) -> None:
    songs = [*SONGS[1:6], {**small_export.catalogue(1, seed=9)[0], "song_id": "new"}]
    examples = {"examples": np.array([encode_song(song, small_export.FIELDS) for song in songs], object)}
    expected = exported.embed(songs)
    np.testing.assert_allclose(client.predict(examples)["embedding"], expected, atol=1e-5)
    np.testing.assert_allclose(client.embed(songs), expected, atol=1e-5)
    candidates = client.predict(examples, "candidate")["embedding"]
    np.testing.assert_allclose(candidates, exported.embed(songs, candidate=True), atol=1e-5)
    ids, scores = client.match(songs, k=4, exclude=[None] * len(songs))
    for row, song in enumerate(songs):
        assert ids[row].tolist() == [exported.ids[place] for place in ranked(exported, song)[:4]]
    np.testing.assert_allclose(scores[:, 0], (expected @ exported.index.T).max(axis=1), atol=1e-5)
    bulk = client.predict(examples, "match_examples")
    assert bulk["song_ids"].shape == (len(songs), len(SONGS))
    assert [i.decode() for i in bulk["song_ids"][0, :4]] == ids[0].tolist()


#: Songs, and how many of their fields the model knows.
KNOWN: list[tuple[dict[str, Any], int]] = [
    ({}, 0),
    ({"attribute_genre": "unheard"}, 0),
    ({"attribute_genre": "Rock"}, 0),
    ({"attribute_genre": "rock"}, 1),
    ({"attribute_tags": []}, 0),
    ({"attribute_tags": ["x", "y"]}, 0),
    ({"attribute_tags": ["x", "t", "t"]}, 1),
    ({"audio_tempo": 0.0}, 1),
    ({"audio_tempo": -3.5, "attribute_genre": "unheard"}, 1),
    ({"lyric_vector": [0.0, 0.0, 0.0]}, 1),
    ({"attribute_genre": "folk", "attribute_tags": ["t"], "audio_tempo": 1.0, "lyric_vector": [1.0, 2.0, 3.0]}, 4),
]


def test_every_signature_counts_known_fields(client: Client) -> None:
    songs, expected = [song for song, _ in KNOWN], [count for _, count in KNOWN]
    examples = {"examples": np.array([encode_song(song, small_export.FIELDS) for song in songs], object)}
    raw = {field.name: field.to_array([song.get(field.name) for song in songs]) for field in small_export.FIELDS}
    per_song = {"k": np.full(len(songs), 3, np.int32), "exclude": np.full(len(songs), "", object)}
    inputs = {"serving_default": examples, "candidate": examples, "match_examples": examples}
    inputs |= {"embed": raw, "match": {**raw, **per_song}, "match_unknown": {**raw, **per_song}}
    assert set(inputs) == SIGNATURES
    for name, values in inputs.items():
        known = client.predict(values, name)["known_fields"]
        assert (known.dtype, known.tolist()) == (np.int32, expected), name


def test_a_vector_with_a_gap_is_not_known(client: Client) -> None:
    raw = {field.name: field.to_array([None, None]) for field in small_export.FIELDS}
    raw["lyric_vector"] = np.array([[1.0, np.nan, 2.0], [1.0, 0.0, 2.0]], np.float32)
    assert client.predict(raw, "embed")["known_fields"].tolist() == [0, 1]


@pytest.mark.filterwarnings("error::serving.client.UnknownSongWarning")
def test_the_client_counts_known_fields_over_split_batches_in_order(folder: Path) -> None:
    songs = [song for song, count in KNOWN if count] * 40
    expected = [count for _, count in KNOWN if count] * 40
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent)) as server,
        Client(server.target, max_rows=7) as client,
    ):
        ids, scores, known = client.match(songs, k=3, with_known_fields=True)
        embeddings, same = client.embed(songs, with_known_fields=True)
    assert ids.shape == scores.shape == (len(songs), 3) and embeddings.shape == (len(songs), 6)
    assert known is not None and same is not None
    assert known.tolist() == same.tolist() == expected


def test_the_client_warns_of_songs_that_the_model_does_not_know(client: Client) -> None:
    songs = [{"audio_tempo": 1.0}, {"attribute_genre": "unheard"}, {}]
    text = r"knows no value of 2 of 3 songs \(first: `songs\[1\]`\)"
    with pytest.warns(UnknownSongWarning, match=text) as caught:
        ids, scores = client.match(songs, k=3)
    # The warning names the line that called the client. The songs that are not known have no matches.
    assert ids.shape == scores.shape == (3, 3) and [one.filename for one in caught] == [__file__]
    assert all(ids[0]) and ids[1:].tolist() == [["", "", ""]] * 2
    with pytest.warns(UnknownSongWarning, match=text):
        assert client.embed(songs).shape == (3, 6)


def test_the_client_for_asyncio_warns_too(folder: Path) -> None:
    async def ask(target: str) -> Any:
        async with AsyncClient(target) as client:
            await client.embed([{"audio_tempo": 1.0}])
            embedded = await client.embed([{}, {"audio_tempo": 1.0}], with_known_fields=True)
            return embedded, await client.match([{}], k=2, with_known_fields=True)

    running = EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent))
    with running as server, pytest.warns(UnknownSongWarning) as caught:
        (embeddings, known), (ids, _, none) = asyncio.run(ask(server.target))
    assert [str(one.message).split(" songs")[0] for one in caught] == [
        "The model knows no value of 1 of 2",
        "The model knows no value of 1 of 1",
    ]
    assert [one.filename for one in caught] == [__file__] * 2
    assert (known.tolist(), none.tolist(), embeddings.shape, ids.shape) == ([0, 1], [0], (2, 6), (1, 2))


def test_the_command_prints_known_fields(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    songs = json.dumps([{"song_id": "a", "audio_tempo": 1.0}, {"attribute_genre": "unheard"}])
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent)) as server:
        for command in ("match", "embed"):
            assert main([command, f"--target={server.target}", "--song-json", songs]) == 0
            out, error = capsys.readouterr()
            lines = [json.loads(line) for line in out.splitlines()]
            assert [(line["song_id"], line["known_fields"]) for line in lines] == [("a", 1), (None, 0)]
            assert error.startswith("The model knows no value of 1 of 2 songs (first: `songs[1]`)")
            assert error.count("\n") == 1
            if command == "match":
                assert [len(line["matches"]) for line in lines] == [10, 0]
        assert main(["match", f"--target={server.target}", "--song-json", '{"audio_tempo": 1}']) == 0
        assert capsys.readouterr().err == ""


def test_a_song_is_not_its_own_match(client: Client, exported: small_export.SmallExport) -> None:
    ids, _ = client.match(SONGS[1:], k=len(SONGS))  # the model knows no field of the first
    assert ids.shape == (len(SONGS) - 1, len(SONGS) - 1)
    for row, song in enumerate(SONGS[1:]):
        assert song["song_id"] not in ids[row] and len(set(ids[row])) == len(SONGS) - 1


KNOWN_SONG = {"audio_tempo": 1.0}


def named_inputs(*songs: dict[str, Any], k: list[int]) -> dict[str, Any]:
    """The inputs of `match`, excluding nothing."""
    raw = {field.name: field.to_array([song.get(field.name) for song in songs]) for field in small_export.FIELDS}
    return {**raw, "k": np.array(k, np.int32), "exclude": np.full(len(songs), "", object)}


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (38, 38), (39, 39), (40, 39), (1000, 39)])
def test_as_many_matches_as_asked_or_all_there_are(client: Client, asked: int, given: int) -> None:
    outputs = client.predict(named_inputs(KNOWN_SONG, k=[asked]), "match")
    assert outputs["song_ids"].shape == outputs["scores"].shape == (1, given)
    assert len(set(outputs["song_ids"][0]) - {b""}) == given


@pytest.mark.parametrize("wrong", [-5, 0, 1001, 2**31 - 1])
def test_k_out_of_range_is_refused(client: Client, wrong: int) -> None:
    text = f"INVALID_ARGUMENT: .*k: expected an integer from 1 to 1000 for each song. Received: {wrong}]"
    for signature in ("match", "match_unknown"):
        with pytest.raises(ServingError, match=text):
            client.predict(named_inputs(KNOWN_SONG, KNOWN_SONG, k=[3, wrong]), signature)


def test_every_row_gets_its_own_k(client: Client) -> None:
    songs = [{"audio_tempo": tempo} for tempo in (-2.0, 0.5, 3.0)]
    found = client.predict(named_inputs(*songs, k=[1, 5, 3]), "match")
    for row, (song, k) in enumerate(zip(songs, (1, 5, 3), strict=True)):
        alone = client.predict(named_inputs(song, k=[k]), "match")
        assert found["song_ids"][row, :k].tolist() == alone["song_ids"][0].tolist()
        np.testing.assert_allclose(found["scores"][row, :k], alone["scores"][0], atol=1e-6)
        assert found["song_ids"][row, k:].tolist() == [b""] * (5 - k)
        assert (found["scores"][row, k:] == np.finfo(np.float32).min).all()


def test_a_song_without_known_fields_has_no_matches_unless_asked(
    client: Client, numbered: Client, exported: small_export.SmallExport
) -> None:
    unknown: dict[str, Any] = {"attribute_genre": "unheard"}
    found = client.predict(named_inputs(unknown, KNOWN_SONG, {}, k=[2, 2, 2]), "match")
    assert found["known_fields"].tolist() == [0, 1, 0]
    assert [all(row) for row in found["song_ids"].tolist()] == [False, True, False]
    assert (found["scores"][[0, 2]] == np.finfo(np.float32).min).all()
    asked = client.predict(named_inputs(unknown, KNOWN_SONG, {}, k=[2, 2, 2]), "match_unknown")
    for row, song in enumerate((unknown, KNOWN_SONG, {})):
        assert [i.decode() for i in asked["song_ids"][row]] == [exported.ids[i] for i in ranked(exported, song)[:2]]
    with pytest.warns(UnknownSongWarning):
        assert numbered.match([{}], k=3)[0].tolist() == [[-1, -1, -1]]


def test_places_without_a_song_are_plain_json(folder: Path) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    rows = [{"k": 2}, {"audio_tempo": 1.0, "k": 1}]
    body = json.dumps({"signature_name": "match", "instances": rows}).encode()
    with EmbeddedServer(
        port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(folder.parent), enable_model_warmup=False
    ) as server:
        url = f"http://localhost:{server.rest_port}/v1/models/bcl:predict"
        with urllib.request.urlopen(url, body, timeout=60) as reply:
            unknown, known = json.loads(reply.read(), parse_constant=refuse)["predictions"]
    assert (unknown["song_ids"], unknown["known_fields"]) == (["", ""], 0)
    assert known["song_ids"][0] and known["song_ids"][1] == ""
    assert known["scores"][0] > known["scores"][1]


def test_the_server_can_be_told_to_match_unknown_songs(
    folder: Path, exported: small_export.SmallExport, client: Client
) -> None:
    with (
        EmbeddedServer(
            port=0, model_name="bcl", model_base_path=str(folder.parent), allow_unknown_songs=True
        ) as server,
        Client(server.target) as asked,
    ):
        with pytest.warns(UnknownSongWarning):
            ids, _ = asked.match([{}], k=2)
        assert ids[0].tolist() == [exported.ids[place] for place in ranked(exported, {})[:2]]


def raw_examples(**features: Any) -> dict[str, Any]:
    """A song as a tf.Example that TensorFlow's own classes write."""
    example = tf.train.Example()
    for name, value in features.items():
        values = example.features.feature[name]
        (values.bytes_list if isinstance(value[0], bytes) else values.float_list).value.extend(value)
    return {"examples": np.array([encode_song(KNOWN_SONG, small_export.FIELDS), example.SerializeToString()], object)}


OF_EXAMPLES = ["serving_default", "candidate", "match_examples"]


@pytest.fixture(scope="module")
def unchecked(folder: Path) -> Iterator[Client]:
    """A server that leaves all checks to the graph, as TensorFlow Serving does."""
    with (
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent), check_song_inputs=False) as server,
        Client(server.target) as running,
    ):
        yield running


@pytest.mark.parametrize("width", [0, 1, 2, 4, 300])
def test_a_vector_of_the_wrong_width_is_refused(client: Client, unchecked: Client, width: int) -> None:
    text = f"INVALID_ARGUMENT: .*lyric_vector: expected 3 numbers for each song. Received: {width}"
    inputs = {**named_inputs({}, KNOWN_SONG, k=[1, 1]), "lyric_vector": np.ones((2, width), np.float32)}
    fields = {field.name: inputs[field.name] for field in small_export.FIELDS}
    for asked in (client, unchecked):
        with pytest.raises(ServingError, match=text):
            asked.predict(inputs, "match")
        with pytest.raises(ServingError, match=text):
            asked.predict(fields, "embed")


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("signature", OF_EXAMPLES)
def test_a_vector_of_the_wrong_width_in_an_example_is_refused(
    client: Client, unchecked: Client, signature: str, width: int
) -> None:
    for asked in (client, unchecked):
        text = rf"INVALID_ARGUMENT: .*lyric_vector: expected 3 \w+ for each song, or none. Received: {width}"
        with pytest.raises(ServingError, match=text):
            asked.predict(raw_examples(lyric_vector=[0.5] * width), signature)
        assert asked.predict(raw_examples(lyric_vector=[0.5] * 3), signature)["known_fields"].tolist() == [1, 1]


def test_two_values_of_a_field_that_has_one_are_refused(client: Client) -> None:
    text = "audio_tempo: expected 1 value for each song, or none. Received: 2"
    with pytest.raises(ServingError, match=text):
        client.predict(raw_examples(audio_tempo=[1.0, 2.0]))


@pytest.mark.parametrize("signature", OF_EXAMPLES)
def test_an_unknown_feature_of_an_example_is_refused_where_the_server_checks(
    client: Client, unchecked: Client, signature: str
) -> None:
    misspelt = raw_examples(audio_temp=[1.0], song_id=[b"song-3"])
    text = (
        r"INVALID_ARGUMENT: examples\[1\]: expected no features other than attribute_genre, attribute_tags, "
        "audio_tempo, lyric_vector and song_id. Received: audio_temp"
    )
    with pytest.raises(ServingError, match=text):
        client.predict(misspelt, signature)
    assert unchecked.predict(misspelt, signature)["known_fields"].tolist() == [1, 0]  # a graph cannot see it


def test_an_index_of_one_song_gives_no_match() -> None:
    model = small_export.SmallExport(SONGS[:1]).model
    raw = {field.name: tf.constant(field.to_array([None])) for field in small_export.FIELDS}
    answer = model.match({**raw, "k": tf.constant([3]), "exclude": tf.constant(["song-0"])})
    assert answer["song_ids"].shape == answer["scores"].shape == (1, 0)


def test_integer_ids(numbered: Client, client: Client) -> None:
    signature = numbered.metadata()["match"]
    assert (str(signature.inputs["exclude"]), str(signature.outputs["song_ids"])) == ("int64 (?)", "int64 (?, ?)")
    songs = [{**song, "song_id": number} for number, song in enumerate(SONGS[1:9], start=1)]
    ids, scores = numbered.match(songs, k=5)
    assert ids.dtype == np.int64
    named, same = client.match(SONGS[1:9], k=5)
    assert [[f"song-{i}" for i in row] for row in ids.tolist()] == named.tolist()
    np.testing.assert_allclose(scores, same, atol=1e-5)
    for row, number in enumerate(range(1, 9)):
        assert number not in ids[row]
    # Ids as text, as in songs.parquet, name the same songs.
    as_text = [{**song, "song_id": str(number)} for number, song in enumerate(SONGS[1:9], start=1)]
    np.testing.assert_array_equal(numbered.match(as_text, k=5)[0], ids)
    everything, _ = numbered.match({}, k=39)
    assert everything.shape == (1, 39)


def test_bulk_matches_are_strings_for_integer_ids_too(numbered: Client) -> None:
    examples = np.array([encode_song(SONGS[0], small_export.FIELDS)], object)
    ids = numbered.predict({"examples": examples}, "match_examples")["song_ids"]
    assert ids.dtype == object and ids[0, 0].decode().isdigit()


def test_ids_that_cannot_be_integers() -> None:
    assert integer_id("0") == 0 and integer_id(str(2**63 - 1)) == 2**63 - 1
    for wrong in ("a", "-1", "007", "1.5", "", "٣", str(2**63), " 1"):
        with pytest.raises(ValueError, match="song_id: expected an integer of 0 or more without leading zeros"):
            integer_id(wrong)
    with pytest.raises(ValueError, match=r"`index_ids` must be 0 or more where they are integers. Received: -1"):
        as_ids([3, -1])


def test_fields_are_read_back_from_the_signature(folder: Path) -> None:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    assert fields_of(graph.signature_def["embed"]) == small_export.FIELDS


def test_the_graph_holds_stock_operations_only(folder: Path) -> None:
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        graph = session.graph_def
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert {node.op for node in nodes} - functions <= {*tf.raw_ops.__dict__, "Placeholder", "Const", "NoOp"}


@pytest.mark.slow
def test_saved_model_cli_shows_it(folder: Path) -> None:
    tool = shutil.which("saved_model_cli", path=str(Path(sys.executable).parent))
    assert tool is not None
    command = [tool, "show", "--dir", str(folder), "--all"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in SIGNATURES:
        assert f"signature_def['{name}']" in done.stdout
    assert "inputs['exclude'] tensor_info:" in done.stdout and "outputs['song_ids'] tensor_info:" in done.stdout


def test_a_warm_up_request_for_each_signature(folder: Path) -> None:
    records = tf.data.TFRecordDataset(str(folder / REQUESTS_FILE)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name for request in requests} == SIGNATURES == warmed_signatures(str(folder))
    assert warmed_signatures(str(folder.parent)) == set()


def test_the_server_replays_them(folder: Path) -> None:
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(folder.parent)) as server:
        (latency,) = [m for m in server.metrics.registry.collect() if m.name.endswith("model_warmup_latency")]
        assert {s.labels["status"]: s.value for s in latency.samples if s.name.endswith("_count")} == {"OK": 1}


def test_a_version_that_fails_its_warm_up_is_not_served(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "bcl" / "1")
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "match"
    with tf.io.TFRecordWriter(str(tmp_path / "bcl" / "1" / REQUESTS_FILE)) as writer:
        writer.write(log.SerializeToString())
    with pytest.raises(RequestError, match="due to error: INVALID_ARGUMENT: input size does not match signature: 0!=6"):
        EmbeddedServer(port=0, model_name="bcl", model_base_path=str(tmp_path / "bcl"), max_num_load_retries=0).start()


def test_an_export_is_whole_or_absent(
    tmp_path: Path, exported: small_export.SmallExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(export_module, "write_requests", fail)
    with pytest.raises(OSError, match="disk full"):
        exported.export(tmp_path / "1")
    assert not (tmp_path / "1").exists()


def test_wrong_types_are_refused_with_tensorflows_text(numbered: Client) -> None:
    inputs = {field.name: field.to_array([None]) for field in small_export.FIELDS}
    with pytest.raises(TypeError, match=r"`inputs\['exclude'\]` must be DT_INT64. Received: dtype"):
        numbered.predict({**inputs, "k": [1], "exclude": ["a"]}, "match")
    with pytest.raises(ServingError, match=r"INVALID_ARGUMENT: .*Could not parse example input"):
        numbered.predict({"examples": np.array([b"\xff"], object)})


def test_the_input_of_each_kind_of_field() -> None:
    vector = RawField("v", "vector", 2)
    np.testing.assert_array_equal(vector.to_array([None, [1.0, 2.0]]), [[math.nan, math.nan], [1.0, 2.0]])
    multi = RawField("m", "multi_category")
    assert multi.to_array([None, ["a", "b"]]).tolist() == [["", "", ""], ["", "a", "b"]]
    kinds = ("category", "multi_category", "number")
    assert [RawField("f", kind).stand_in() for kind in kinds] == ["-", ["-"], 0.0]


@pytest.fixture(scope="module")
def batched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server that runs three rows at a time, and waits until they are there."""
    file = tmp_path_factory.mktemp("batched") / "batching.config"
    file.write_text("max_batch_size { value: 3 } batch_timeout_micros { value: 600000000 }")
    with EmbeddedServer(
        port=0,
        model_name="bcl",
        model_base_path=str(folder.parent),
        enable_batching=True,
        batching_parameters_file=str(file),
        enable_model_warmup=False,  # its requests have two rows
    ) as server:
        yield server


def at_once(server: EmbeddedServer, signature: str, requests: list[dict[str, Any]]) -> list[Any]:
    """Returns the outputs of requests that share a batch, or their errors."""

    def ask(inputs: dict[str, Any]) -> Any:
        with Client(server.target, timeout=None) as client:
            try:
                return client.predict(inputs, signature)
            except ServingError as error:
                return error

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def test_each_client_of_a_batch_has_its_own_k_and_its_own_error(batched: EmbeddedServer) -> None:
    def matches(*wanted: int) -> list[Any]:
        return at_once(batched, "match", [named_inputs(KNOWN_SONG, k=[k]) for k in wanted])

    def songs(outputs: Any) -> list[bytes]:
        return [song for song in outputs["song_ids"][0].tolist() if song]

    two, five, three = matches(2, 5, 3)
    assert [len(songs(found)) for found in (two, five, three)] == [2, 5, 3]
    assert songs(two) == songs(five)[:2] and songs(three) == songs(five)[:3]
    good, bad, other = matches(2, 2000, 3)
    assert (songs(good), songs(other)) == (songs(two), songs(three))
    assert isinstance(bad, ServingError) and "Received: 2000" in str(bad)


def test_garbage_of_one_client_reaches_no_other(batched: EmbeddedServer) -> None:
    song = encode_song(KNOWN_SONG, small_export.FIELDS)
    examples = [song, b"\xffsecret of one", b"\xffsecret of another"]
    found = at_once(batched, "serving_default", [{"examples": np.array([data], object)} for data in examples])
    assert found[0]["known_fields"].tolist() == [1]
    texts = [str(error) for error in found[1:]]
    assert all("Could not parse example input" in text for text in texts)
    assert ["secret of one" in text for text in texts] == [True, False]
    assert ["secret of another" in text for text in texts] == [False, True]
