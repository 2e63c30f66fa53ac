"""Inputs by URI: tables in a server of the S3 protocol, and what is said where one cannot be read."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.s3_server import KEY, SECRET, S3Server, s3_server
from tests.waiting import reserved_port
from tfx_pipeline.contract import PLAYS, SONGS, ColumnNames, ContractError, check, prepare
from tfx_pipeline.contract.__main__ import main
from tfx_pipeline.contract.stores import s3
from tfx_pipeline.contract.stores.location import StorePath, locate
from tfx_pipeline.run import main as run

IDS = ["é 1", "b%202", "c"]
CATALOGUE = pa.table({"song_id": IDS, "attribute_genre": ["a", "b", None], "audio_x": [1.0, None, 2.0], "title": IDS})
LISTENING = pa.table({"user_id": ["u", "v", "ü w"], "song_id": IDS, "plays": [1, 2, 3]})
EMPTY = LISTENING.slice(0, 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


@pytest.fixture
def store(server: S3Server, environment: pytest.MonkeyPatch) -> S3Server:
    environment.setenv("AWS_ENDPOINT_URL", server.url)
    return server


def csv_of(table: pa.Table) -> bytes:
    written = io.BytesIO()
    pa.csv.write_csv(table, written)
    return written.getvalue()


def write_both(store: S3Server, local: Path, at: str, files: dict[str, bytes | pa.Table]) -> None:
    """Writes the same files into a folder and into the store."""
    for name, content in files.items():
        store.put(f"{at}/{name}", content)
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (local / name).write_bytes(content)
        else:
            pq.write_table(content, local / name)


FORMS: dict[str, dict[str, bytes | pa.Table]] = {
    "files": {"songs.parquet": CATALOGUE, "plays.parquet": LISTENING},
    "text": {"songs.csv": csv_of(CATALOGUE), "plays.tsv": csv_of(LISTENING).replace(b",", b"\t")},
    "utf-16": {"songs.csv": csv_of(CATALOGUE).decode().encode("utf-16"), "plays.csv": csv_of(LISTENING)},
    "parts": {
        "songs.parquet/part 0é.parquet": CATALOGUE.slice(0, 2),
        "songs.parquet/part 1.parquet": CATALOGUE.slice(2),
        "songs.parquet/_SUCCESS": b"",
        "plays/land=D%20E/date=2026-11-01/x.parquet": LISTENING.slice(0, 2),
        "plays/land=D%20E/date=2026-11-02/x.parquet": LISTENING.slice(2),
        "plays/land=__HIVE_DEFAULT_PARTITION__/date=2026-11-01/x.parquet": EMPTY,
    },
    "days": {
        "date=2026-11-01/songs.parquet": CATALOGUE.slice(0, 2),
        "date=2026-11-01/plays.parquet": LISTENING.slice(0, 2),
        "date=2026-11-02/songs/a.parquet": CATALOGUE.slice(1),
        "date=2026-11-02/plays.parquet": LISTENING.slice(2),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_store_gives_the_same_input_as_a_folder(form: str, store: S3Server, tmp_path: Path) -> None:
    write_both(store, tmp_path / "in", f"one-bucket/Große Daten/{form}", FORMS[form])
    near = prepare(tmp_path / "in", tmp_path / "near")
    far = prepare(f"s3://one-bucket/Große Daten/{form}/", tmp_path / "far")
    for name in (SONGS, PLAYS):
        assert (tmp_path / "near" / name).read_bytes() == (tmp_path / "far" / name).read_bytes()
    assert str(far.folder) == f"s3://one-bucket/Große Daten/{form}"
    assert near.notes == far.notes


def test_only_the_days_of_the_window_are_read(store: S3Server, tmp_path: Path) -> None:
    days = [f"2026-{month:02d}-{day:02d}" for month in (9, 10) for day in range(1, 5)]
    store.put("days/songs.parquet", CATALOGUE)
    for day in days:
        store.put(f"days/plays/date={day}/p.parquet", LISTENING)
    before = len(store.asked())
    assert prepare("s3://days", tmp_path / "out", window=2).num_plays == 6
    read = {path for path in store.read_since(before) if "plays" in path}
    assert read == {f"/days/plays/date={day}/p.parquet" for day in days[-2:]}
    listed = [line for line in store.asked()[before:] if "list-type" in line and "date%3D" in line]
    assert {day for day in days if any(day in line for line in listed)} == {days[0], *days[-2:]}  # is it a table?


def test_an_input_that_did_not_change_is_not_read_again(store: S3Server, tmp_path: Path) -> None:
    write_both(store, tmp_path / "in", "same", FORMS["files"])
    prepare("s3://same", tmp_path / "out")
    assert set(store.read_since(0)) >= {"/same/songs.parquet", "/same/plays.parquet"}
    before = len(store.asked())
    assert prepare("s3://same", tmp_path / "out").num_songs == 3
    assert store.read_since(before) == []
    store.put("same/plays.parquet", LISTENING.slice(1))
    assert prepare("s3://same", tmp_path / "out").num_plays == 2


def test_markers_of_folders_are_no_files(store: S3Server) -> None:
    store.put("markers/in/songs.parquet", CATALOGUE)
    store.system.create_dir("markers/in/plays/date=2026-11-01")
    store.put("markers/in/plays/date=2026-11-01/x.parquet", LISTENING)
    assert check("s3://markers/in").num_plays == 3


def test_names_of_the_users_own_are_read_in_a_store(store: S3Server) -> None:
    write = {"songs.csv": csv_of(CATALOGUE.rename_columns(["Spur", "Art", "Tempo", "titre"]))}
    write["plays.csv"] = csv_of(LISTENING.rename_columns(["wer", "Spur", "n"]))
    for name, content in write.items():
        store.put(f"own/{name}", content)
    columns = ColumnNames(
        {"Spur": "song_id", "Art": "attribute", "Tempo": "audio"}, {"wer": "user_id", "Spur": "song_id", "n": "plays"}
    )
    assert check("s3://own", columns=columns).num_plays == 3
    store.put("own/plays.csv", write["plays.csv"].replace(b"3", b"-3"))
    with pytest.raises(ContractError, match=r"^s3://own/plays\.csv: column `n`, row 2 .* Received: -3"):
        check("s3://own", columns=columns)


@pytest.mark.parametrize(
    ("uri", "files", "words"),
    [
        ("s3://no-such-bucket-here/x", {}, ["s3://no-such-bucket-here/x", "no such bucket"]),
        ("s3://errors/nothing here", {}, ["s3://errors/nothing here", "a folder with songs.parquet", "no such folder"]),
        ("s3://errors/half", {"half/songs.parquet": CATALOGUE}, ["s3://errors/half", "plays.parquet or plays.csv"]),
        (
            "s3://errors/bad",
            {"bad/songs.parquet": CATALOGUE, "bad/plays/1 é.parquet": b"PAR1, but no more than that"},
            ["s3://errors/bad/plays/1 é.parquet", "expected a Parquet file"],
        ),
        (
            "s3://errors/null",
            {
                "null/songs.parquet": CATALOGUE,
                "null/plays.parquet": pa.table({"user_id": ["a", None], "song_id": ["c", "c"]}),
            },
            ["s3://errors/null/plays.parquet: column `user_id`, row 1 (counted from 0): expected an id"],
        ),
        (
            "s3://errors/file",
            {"file": b"x"},
            ["s3://errors/file: expected a folder with songs.parquet and plays.parquet. Received: a file"],
        ),
    ],
)
def test_messages_name_bucket_and_key(
    uri: str, files: dict[str, bytes | pa.Table], words: list[str], store: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put("errors/other", b"")
    for name, content in files.items():
        store.put(f"errors/{name}", content)
    assert main([uri]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message


class Denying(BaseHTTPRequestHandler):
    """Refuses every request as S3 does, and names the key and the secret as no server should."""

    def do_GET(self) -> None:
        body = f"<Error><Code>AccessDenied</Code><Message>Access Denied {KEY} {SECRET}</Message></Error>".encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def test_a_refusal_is_named_without_secrets(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Denying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        assert run(["--data", "s3://locked/in", "--out", str(tmp_path / "run"), "--dry-run"]) == 2
        server.shutdown()
    shown = "".join(capsys.readouterr())
    assert "s3://locked/in: expected" in shown
    assert "Received: no permission. Set AWS_ACCESS_KEY_ID" in shown
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for secret in (KEY, SECRET):
        assert secret not in shown
        assert secret.encode() not in written


def test_a_server_that_is_not_there_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with reserved_port() as port:
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        assert main(["s3://bucket/in"]) == 2
    message = capsys.readouterr().err
    assert f"s3://bucket/in: expected a file or a folder. Received: no answer from http://127.0.0.1:{port}." in message


def test_a_server_that_never_answers_is_given_up(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setattr(s3, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system takes the connection, and nobody reads it
        environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert main(["s3://bucket/in"]) == 2
    assert "Received: no answer from http://127.0.0.1" in capsys.readouterr().err


def test_file_uris_are_paths(tmp_path: Path) -> None:
    assert locate((tmp_path / "a b é%").as_uri()) == tmp_path / "a b é%"
    assert locate("file://localhost/a%20b") == Path("/a b")
    assert locate("data/a b") == Path("data/a b")
    assert locate("C:\\data") == Path("C:\\data")
    assert locate(tmp_path) == tmp_path


def test_keys_are_taken_as_they_are(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    place = locate("S3://bucket/a%20b/c d?e=f#g.tar.csv/")
    assert isinstance(place, StorePath)
    assert str(place) == "s3://bucket/a%20b/c d?e=f#g.tar.csv"
    assert (place.name, place.suffix, place.stem) == ("c d?e=f#g.tar.csv", ".csv", "c d?e=f#g.tar")
    assert (place / "x").relative_to(place.parent).parts == ("c d?e=f#g.tar.csv", "x")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/in", "expected a path, or a URI with one of file://, s3://, gs://, hdfs://. Received: ftp://"),
        ("s3:///in", "expected s3://bucket/folder. Received: no bucket"),
        ("file://elsewhere/in", "expected file:///path. Received: another host"),
        ("s3://key:hush-hush@bucket/in", "s3://bucket/in: expected a URI without credentials"),
        ("hdfs://me:hush-hush@host/in", "hdfs://host/in: expected a URI without credentials"),
    ],
)
def test_uris_that_cannot_be_are_refused(uri: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([uri]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "hush-hush" not in message


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"AWS_ENDPOINT_URL": "localhost:9000"}, "AWS_ENDPOINT_URL: expected http://host:port"),
        ({"AWS_ENDPOINT_URL": "http://me:hush-hush@host"}, "AWS_ENDPOINT_URL: expected http://host:port"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY: expected both halves of the credentials"),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID: expected both halves of the credentials"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(
    variables: dict[str, str], words: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert main(["s3://bucket/in"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "hush-hush" not in message and SECRET not in message
