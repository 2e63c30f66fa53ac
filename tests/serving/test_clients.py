"""The clients of docs/clients in curl, Python, Node, Go and Java, against the embedded server on a real export."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import client_programs
import numpy as np
import pyarrow.parquet as pq
import pytest
import small_export
from certificates import ssl_config, write_certificates

from serving.client import TLS, Client, ServingError, is_song
from serving.server import EmbeddedServer
from tfx_pipeline.datasets.simulate import simulate

pytestmark = pytest.mark.slow

TOKEN = "a-token"
CATALOGUE = small_export.catalogue(30)
#: One of everything, none of everything, text beyond ASCII, lists of different length.
SONGS: list[dict[str, Any]] = [
    {
        "attribute_genre": "jazz",
        "attribute_tags": ["t", "ジャズ\u2028", ""],
        "audio_tempo": 1.5,
        "lyric_vector": [0.1, -0.2, 0.3],
        "k": 5,
    },
    {"attribute_genre": None, "attribute_tags": ["t"] * 7, "audio_tempo": -2, "k": 1},
    {"attribute_tags": [], "lyric_vector": [1e-3, 2, -5e2], "k": 3},
    {"attribute_genre": "Ünheard", "attribute_tags": None, "audio_tempo": None, "lyric_vector": None, "k": 2},
]


@pytest.fixture(scope="module")
def exported() -> small_export.SmallExport:
    return small_export.SmallExport(CATALOGUE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates, and a token file."""
    folder = write_certificates(tmp_path_factory.mktemp("clients"))
    (folder / "token").write_text(f"{TOKEN}\n")
    return folder


@pytest.fixture(scope="module")
def secure(exported: small_export.SmallExport, folder: Path) -> Iterator[EmbeddedServer]:
    """A server with TLS on gRPC that asks for a token."""
    exported.export(folder / "text" / "1")
    with EmbeddedServer(
        port=0,
        rest_api_port=-1,
        model_name="new-songs",
        model_base_path=str(folder / "text"),
        ssl_config_file=ssl_config(folder, verify=False),
        auth_token_file=str(folder / "token"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def plain(folder: Path) -> Iterator[EmbeddedServer]:
    """A server of a model whose ids are whole numbers."""
    small_export.SmallExport(CATALOGUE, integer_ids=True).export(folder / "numbers" / "1")
    with EmbeddedServer(port=0, rest_api_port=-1, model_name="bcl", model_base_path=str(folder / "numbers")) as running:
        yield running


@pytest.fixture(scope="module", params=list(client_programs.BUILDS))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> client_programs.Program:
    return client_programs.Program(request.param, tmp_path_factory.mktemp(request.param))


def settings_of(server: EmbeddedServer, **more: str) -> dict[str, str]:
    return {
        "BCL_TARGET": f"localhost:{server.port}",
        "BCL_URL": f"http://localhost:{server.rest_port}",
        "BCL_TIMEOUT": "120",
        **more,
    }


@pytest.fixture(scope="module")
def known(secure: EmbeddedServer, folder: Path, program: client_programs.Program) -> dict[str, str]:
    """The settings with which the secure server answers. REST has no certificates of its own."""
    tls = {} if program.language == "curl" else {"BCL_CA": str(folder / "ca.pem")}
    return settings_of(secure, BCL_MODEL="new-songs", BCL_TOKEN_FILE=str(folder / "token"), **tls)


def answers(client: Client, songs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns what the client of this project gets, each song in a request of its own."""
    rows = []
    for song in songs:
        fields = {name: value for name, value in song.items() if name not in ("k", "exclude")}
        ids, scores = client.match([fields], k=song["k"], exclude=[song.get("exclude")])
        found = [(str(i), s) for i, s in zip(ids[0].tolist(), scores[0].tolist(), strict=True) if is_song(i)]
        rows.append({"song_ids": [i for i, _ in found], "scores": [s for _, s in found]})
    return rows


def assert_same(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [row["song_ids"] for row in rows] == [row["song_ids"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row["scores"], wanted["scores"], atol=1e-6)


def without_case(text: str) -> str:
    """Go writes InvalidArgument for INVALID_ARGUMENT."""
    return text.replace("_", "").lower()


@pytest.mark.filterwarnings("ignore::serving.client.UnknownSongWarning")
def test_matches(
    program: client_programs.Program,
    exported: small_export.SmallExport,
    secure: EmbeddedServer,
    known: dict[str, str],
    folder: Path,
) -> None:
    best = exported.ids[int(np.argmax(exported.embed(SONGS[:1]) @ exported.index.T))]
    songs = [SONGS[0] | {"exclude": best}, *SONGS[1:]]
    done = program.ask(songs, known)
    assert done.returncode == 0, done.stderr
    rows = program.rows(done.stdout)
    tls, target = TLS(ca=str(folder / "ca.pem")), f"localhost:{secure.port}"
    with Client(target, model_name="new-songs", tls=tls, token=TOKEN) as client:
        assert_same(rows, answers(client, songs))
    assert [len(row["song_ids"]) for row in rows] == [5, 1, 3, 0]
    scores = (exported.embed(songs[:1]) @ exported.index.T)[0]
    assert rows[0]["song_ids"] == [exported.ids[row] for row in np.argsort(-scores)[1:6]]


def test_ids_that_are_whole_numbers(program: client_programs.Program, plain: EmbeddedServer) -> None:
    songs = [SONGS[0] | {"exclude": 13}, SONGS[1]]
    done = program.ask(songs, settings_of(plain))
    assert done.returncode == 0, done.stderr
    with Client(plain.target) as client:
        expected = answers(client, songs)
    assert_same(program.rows(done.stdout), expected)
    assert all(one.isdigit() and one != "13" for row in expected for one in row["song_ids"])


def test_a_bad_request(program: client_programs.Program, plain: EmbeddedServer) -> None:
    songs = [SONGS[0] | {"k": 1001}]
    with Client(plain.target) as client, pytest.raises(ServingError) as caught:
        answers(client, songs)
    done = program.ask(songs, settings_of(plain))
    if program.language == "curl":
        assert done.returncode == 22
        assert json.loads(done.stdout) == {"error": caught.value.details}
    else:
        assert done.returncode == 1 and done.stdout == ""
        assert caught.value.details in done.stderr
        assert without_case(caught.value.code.name) in without_case(done.stderr)


def test_a_field_that_the_model_lacks(program: client_programs.Program, plain: EmbeddedServer) -> None:
    done = program.ask([{"attribute_genr": "jazz", "k": 3}], settings_of(plain))
    assert done.returncode == (22 if program.language == "curl" else 2)
    assert "attribute_genr" in done.stdout + done.stderr


def test_without_the_token(program: client_programs.Program, known: dict[str, str], plain: EmbeddedServer) -> None:
    done = program.ask(SONGS[:1], {name: value for name, value in known.items() if name != "BCL_TOKEN_FILE"})
    assert done.returncode == (22 if program.language == "curl" else 1)
    assert "a bearer token is needed" in done.stdout + done.stderr


def test_a_server_that_never_answers(program: client_programs.Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        done = program.ask(SONGS[:1], {"BCL_TARGET": where, "BCL_URL": f"http://{where}", "BCL_TIMEOUT": "1"})
    if program.language == "curl":
        assert done.returncode == 28
    else:
        assert done.returncode == 1
        assert without_case("DEADLINE_EXCEEDED") in without_case(done.stderr)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs the command curl")
def test_the_other_questions_of_curl(
    exported: small_export.SmallExport, secure: EmbeddedServer, folder: Path, tmp_path: Path
) -> None:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        settings = settings_of(secure, BCL_MODEL="new-songs", BCL_TOKEN_FILE=str(folder / "token"))
        command = ["bash", str(client_programs.SOURCES / "curl" / "ask.sh"), *words]
        return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)

    songs = [{name: value for name, value in song.items() if name != "k"} for song in SONGS]
    (tmp_path / "songs.json").write_text(json.dumps(songs))
    rows = json.loads(ask("embed", str(tmp_path / "songs.json")).stdout)["predictions"]
    np.testing.assert_allclose([row["embedding"] for row in rows], exported.embed(songs), atol=1e-5)
    assert json.loads(ask("status").stdout)["model_version_status"][0]["state"] == "AVAILABLE"
    assert "match" in json.loads(ask("metadata").stdout)["metadata"]["signature_def"]["signature_def"]
    assert json.loads(ask("health").stdout) == {"status": "ready"}
    for words in ([], ["delete"], ["match"], ["match", "nowhere.json"]):
        done = ask(*words)
        assert done.returncode == 2 and done.stderr and not done.stdout


def test_the_songs_of_the_page_are_those_of_the_demo(tmp_path: Path) -> None:
    simulate(tmp_path, songs=200, users=100, plays=6000, seed=1)
    (table,) = (pq.read_table(path) for path in tmp_path.rglob("songs.parquet"))
    columns = {name: next(value for value in table[name].to_pylist() if value) for name in table.column_names}
    songs = json.loads((client_programs.SOURCES / "songs.json").read_text())
    for song in songs:
        for name in set(song) - {"k", "exclude"}:
            value, example = song[name], columns[name]
            assert value is None or type(value) in ({int, float} if isinstance(example, float) else {type(example)})
            if isinstance(value, list) and isinstance(example[0], float):
                assert len(value) == len(example)
    assert {type(value) for song in songs for value in song.values()} >= {str, list, float, int, type(None)}
