"""Both clients and the command line against a running server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
import small_model

from serving.client import AsyncClient, Backoff, Client, ServingError
from serving.client.__main__ import main
from tests.waiting import LAST_RESORT

SONGS = [
    {"song_id": "s4", "attribute_genre": "jazz", "attribute_tags": ["a", "b"], "audio_tempo": 3.5},
    {"attribute_genre": "rock", "lyric_vector": [1.0, 2.0, 3.0]},
    {"attribute_genre": None, "attribute_tags": [], "audio_tempo": None},
]


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[Client]:
    with Client(server.target) as running:
        yield running


def test_embed_equals_numpy(client: Client) -> None:
    result = client.embed(SONGS)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, small_model.embedding(SONGS))


def test_embed_of_an_arrow_table(client: Client) -> None:
    table = pa.table({"attribute_genre": ["jazz", None], "audio_tempo": [2.0, None], "title": ["x", "y"]})
    result = client.embed(table, ignore=["title"])
    np.testing.assert_allclose(result, small_model.embedding(table.to_pylist()))


def test_embed_of_no_songs(client: Client) -> None:
    assert client.embed([]).shape == (0, 4)


def test_match_gives_ids_then_scores_without_the_song_itself(client: Client) -> None:
    ids, scores = client.match(SONGS, k=3)
    expected = small_model.embedding(SONGS) @ small_model.INDEX.T
    expected[0, small_model.INDEX_IDS.index("s4")] = -np.inf
    np.testing.assert_allclose(scores, -np.sort(-expected)[:, :3])
    assert ids.shape == (3, 3) and isinstance(ids[0, 0], str)
    assert ids[0].tolist() == [small_model.INDEX_IDS[i] for i in np.argsort(-expected[0], kind="stable")[:3]]


@pytest.mark.filterwarnings("error::serving.client.UnknownSongWarning")
def test_a_model_that_does_not_count_known_fields(client: Client) -> None:
    embeddings, none = client.embed(SONGS, with_known_fields=True)
    np.testing.assert_allclose(embeddings, small_model.embedding(SONGS))
    ids, scores, nothing = client.match(SONGS, k=3, with_known_fields=True)
    assert none is None and nothing is None and ids.shape == scores.shape == (3, 3)


def test_match_excludes_given_ids(client: Client) -> None:
    song = {"lyric_vector": [9.0, 0.0, 0.0]}
    assert client.match(song, k=1)[0].tolist() == [["s5"]]
    assert client.match(song, k=1, exclude=["s5"])[0].tolist() != [["s5"]]


def test_match_gives_no_more_than_the_index_has(client: Client) -> None:
    ids, scores = client.match(SONGS[0], k=50)
    assert ids.shape == scores.shape == (1, 4)


@pytest.mark.parametrize("k", [0, 2.5, True])
def test_match_needs_a_whole_number(client: Client, k: Any) -> None:
    with pytest.raises(ValueError, match=f"`k` must be an integer of 1 or more. Received: {k}"):
        client.match(SONGS, k=k)


def test_predict_runs_any_signature(client: Client) -> None:
    outputs = client.predict({"x": [[1, 2], [3, 4]]}, "dense")
    np.testing.assert_allclose(outputs["y"], np.array([[1, 2], [3, 4]]) @ np.arange(6).reshape(2, 3))
    match = client.predict(dict(_match_inputs().items()), "match")
    assert match["song_ids"].dtype == object and isinstance(match["song_ids"][0, 0], bytes)


def _match_inputs() -> dict[str, Any]:
    return {
        "attribute_genre": ["rock"],
        "attribute_tags": [[""]],
        "audio_tempo": [np.nan],
        "lyric_vector": np.zeros((1, 3)),
        "k": [2],
        "exclude": [""],
    }


def test_unknown_signature_and_field(client: Client) -> None:
    with pytest.raises(ValueError, match=r"`signature` must be one of \['add', 'classify'.*Received: 'nope'"):
        client.predict({}, "nope")
    with pytest.raises(ValueError, match=r"no fields other than .*'audio_tempo'.*Received: \['tempo'\]"):
        client.embed({"tempo": 1.0})


def test_metadata_lists_inputs_and_outputs(client: Client) -> None:
    signature = client.metadata()["embed"]
    assert {name: str(spec) for name, spec in signature.inputs.items()} == {
        "attribute_genre": "string (?)",
        "attribute_tags": "string (?, ?)",
        "audio_tempo": "float (?)",
        "lyric_vector": "float (?, 3)",
    }
    assert str(signature.outputs["embedding"]).startswith("float (?")


def test_status(client: Client) -> None:
    (version,) = client.status()
    assert (version.version, version.state, version.error_code, version.error_message) == (3, "AVAILABLE", 0, "")
    assert client.wait_until_available(timeout=LAST_RESORT) == [version]


def test_chosen_version(server: Any) -> None:
    with Client(server.target, version=3) as right, Client(server.target, version=4) as wrong:
        assert right.embed({"audio_tempo": 1.0}).shape == (1, 4)
        with pytest.raises(ServingError, match=r"NOT_FOUND: Servable not found for request: Specific\(bcl, 4\)"):
            wrong.embed({"audio_tempo": 1.0})


def test_large_batches_are_split_and_joined_in_order(server: Any) -> None:
    songs = [{"audio_tempo": float(i), "attribute_tags": ["t"] * (i % 4)} for i in range(500)]
    before = server.metrics.value("/tensorflow/serving/request_count")
    with Client(server.target, max_message_bytes=6000) as small:
        np.testing.assert_allclose(small.embed(songs), small_model.embedding(songs))
        ids, scores = small.match(songs, k=3)
    assert ids.shape == scores.shape == (500, 3)
    assert server.metrics.value("/tensorflow/serving/request_count") > before + 2


def test_threads_share_a_client(client: Client) -> None:
    def ask(number: int) -> np.ndarray:
        return client.embed({"audio_tempo": float(number)})

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(64)))
    assert [result[0, 2] for result in results] == list(range(64))


def test_async_client(server: Any) -> None:
    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(server.target) as client:
            embeddings = await asyncio.gather(*(client.embed(song) for song in SONGS))
            ids, scores = await client.match(SONGS, k=2)
            outputs = await client.predict({"x": [[1, 1]]}, "dense")
            return embeddings, ids, scores, outputs, await client.status(), await client.metadata(refresh=True)

    embeddings, ids, scores, outputs, status, metadata = asyncio.run(ask())
    np.testing.assert_allclose(np.concatenate(embeddings), small_model.embedding(SONGS))
    assert ids.shape == scores.shape == (3, 2)
    np.testing.assert_allclose(outputs["y"], [[3, 5, 7]])
    assert status[0].state == "AVAILABLE" and "match" in metadata


def test_deadline(server: Any, client: Client) -> None:
    with pytest.raises(ServingError) as caught:
        client.predict({"rounds": [10**8]}, "slow", timeout=0.2)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED

    async def ask() -> None:
        async with AsyncClient(server.target, timeout=0.2) as quick:
            await quick.predict({"rounds": [10**8]}, "slow")

    with pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        asyncio.run(ask())


class Flaky(grpc.GenericRpcHandler):
    """Fails `failures` times with `code`, then passes calls on to a real server."""

    def __init__(self, target: str, failures: int, code: grpc.StatusCode) -> None:
        self.left, self.code, self.calls = failures, code, 0
        self._channel = grpc.insecure_channel(target)
        self._lock = threading.Lock()

    def service(self, details: Any) -> Any:
        def pass_on(request: bytes, context: Any) -> bytes:
            with self._lock:
                self.calls += 1
                self.left -= 1
                fails = self.left >= 0
            if fails:
                context.abort(self.code, "not now")
            return self._channel.unary_unary(details.method)(request)

        return grpc.unary_unary_rpc_method_handler(pass_on)


@pytest.fixture
def flaky(server: Any) -> Iterator[Any]:
    started = []

    def start(failures: int, code: grpc.StatusCode) -> tuple[Flaky, str]:
        handler = Flaky(server.target, failures, code)
        proxy = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
        port = proxy.add_insecure_port("127.0.0.1:0")
        proxy.start()
        started.append(proxy)
        return handler, f"127.0.0.1:{port}"

    yield start
    for proxy in started:
        proxy.stop(None)


QUICK = Backoff(attempts=4, initial=0.01)


def test_unavailable_is_tried_again(flaky: Any) -> None:
    handler, target = flaky(3, grpc.StatusCode.UNAVAILABLE)
    with Client(target, backoff=QUICK) as client:
        assert client.status()[0].version == 3
    assert handler.calls == 4


def test_retries_end(flaky: Any) -> None:
    handler, target = flaky(99, grpc.StatusCode.UNAVAILABLE)
    with Client(target, backoff=QUICK) as client, pytest.raises(ServingError, match="UNAVAILABLE: not now"):
        client.status()
    assert handler.calls == 4


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT]
)
def test_nothing_else_is_tried_again(flaky: Any, code: grpc.StatusCode) -> None:
    handler, target = flaky(1, code)
    with Client(target, backoff=QUICK) as client, pytest.raises(ServingError) as caught:
        client.status()
    assert (handler.calls, caught.value.code, caught.value.details) == (1, code, "not now")


def test_the_async_client_tries_again_too(flaky: Any) -> None:
    handler, target = flaky(2, grpc.StatusCode.UNAVAILABLE)

    async def ask() -> Any:
        async with AsyncClient(target, backoff=QUICK) as client:
            return await client.status()

    assert asyncio.run(ask())[0].version == 3
    assert handler.calls == 3


def test_a_large_request_is_tried_again_too(flaky: Any) -> None:
    """Larger than the 256 KiB that gRPC keeps of a call by default."""
    handler, target = flaky(0, grpc.StatusCode.UNAVAILABLE)
    with Client(target, backoff=QUICK) as client:
        client.metadata()
        handler.left = 1
        assert len(client.embed({"attribute_genre": "x" * 300_000, "audio_tempo": 1.0})) == 1
    assert handler.calls == 3


def test_no_retry_past_the_deadline(flaky: Any) -> None:
    handler, target = flaky(99, grpc.StatusCode.UNAVAILABLE)
    late = Backoff(attempts=5, initial=1e6, maximum=1e6)
    with Client(target, backoff=late, timeout=0.3) as client, pytest.raises(ServingError, match="DEADLINE_EXCEEDED"):
        client.status()
    assert handler.calls == 1


def test_a_refusal_makes_the_client_ask_for_the_metadata_again(flaky: Any) -> None:
    handler, target = flaky(0, grpc.StatusCode.INVALID_ARGUMENT)
    with Client(target) as client:
        client.embed({"audio_tempo": 1.0})
        assert handler.calls == 2
        handler.left = 1
        with pytest.raises(ServingError, match="INVALID_ARGUMENT"):
            client.embed({"audio_tempo": 1.0})
        client.embed({"audio_tempo": 1.0})
    assert handler.calls == 5


def test_waiting_for_a_server_that_never_starts() -> None:
    with Client("127.0.0.1:1", backoff=Backoff(attempts=1)) as client:
        # The last attempt may be one whose own time is up.
        last = "(UNAVAILABLE|DEADLINE_EXCEEDED)"
        with pytest.raises(TimeoutError, match=f"no version of bcl became available in 0.3 s; last: .*{last}"):
            client.wait_until_available(timeout=0.3, poll=0.05)


def run(capsys: Any, *arguments: str) -> tuple[int, list[Any], str]:
    code = main(arguments)
    captured = capsys.readouterr()
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_command_line(server: Any, capsys: Any, tmp_path: Any) -> None:
    song = json.dumps({"song_id": "s4", "lyric_vector": [1, 1, 1], "title": "x"})
    code, lines, _ = run(capsys, "match", f"--target={server.target}", "--song-json", song, "--k=2", "--ignore=title")
    assert code == 0
    assert lines[0]["song_id"] == "s4" and lines[0]["known_fields"] is None
    assert lines[0]["matches"][0] == {"song_id": "s5", "score": 3.0}
    file = tmp_path / "songs.json"
    file.write_text('{"audio_tempo": 1}\n{"audio_tempo": 2}\n')
    code, lines, _ = run(capsys, "embed", f"--target={server.target}", "--song-json", f"@{file}")
    assert (code, [line["embedding"][2] for line in lines]) == (0, [1.0, 2.0])
    code, lines, _ = run(capsys, "status", f"--target={server.target}")
    assert (code, lines[0]["state"]) == (0, "AVAILABLE")
    code, lines, _ = run(capsys, "metadata", f"--target={server.target}")
    assert code == 0 and {line["signature"] for line in lines} >= {"embed", "match", "serving_default"}


def test_command_line_errors(server: Any, capsys: Any) -> None:
    target = f"--target={server.target}"
    code, _, error = run(capsys, "embed", target, "--song-json", "{nonsense")
    assert code == 2 and "`--song-json` must be a JSON object" in error
    for nothing in ("", " \n"):
        code, _, error = run(capsys, "embed", target, "--song-json", nothing)
        assert code == 2 and "one object per line. Received: nothing" in error
    code, _, error = run(capsys, "embed", target, "--song-json", '{"audio_tempo": 1e39}')
    assert code == 2 and "must be a finite number or None" in error
    code, _, error = run(capsys, "embed", target, "--song-json", '{"tempo": 1}')
    assert code == 2 and "Received: ['tempo']" in error
    code, _, error = run(capsys, "status", target, "--model_name=nope")
    assert code == 1 and "NOT_FOUND: Could not find any versions of model nope" in error
    code, _, error = run(capsys, "embed", target, "--song-json", "@/does/not/exist")
    assert code == 2 and "/does/not/exist" in error
