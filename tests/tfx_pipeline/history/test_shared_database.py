"""Runs recorded in a real MariaDB and a real PostgreSQL: two at once, killed, resumed elsewhere, pruned."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from tests.tfx_pipeline.history.databases import PASSWORD, Server, mariadb, postgresql
from tests.waiting import LAST_RESORT, eventually
from tfx_pipeline.datasets.simulate import simulate
from tfx_pipeline.history.database_address import DatabaseAddress
from tfx_pipeline.history.database_connection import DatabaseError, connect, register_folder
from tfx_pipeline.history.pruning import plan
from tfx_pipeline.history.run_history import read_runs
from tfx_pipeline.history.run_records import NAME, RunRecords
from tfx_pipeline.run import main
from tfx_pipeline.runs import main as runs
from tfx_pipeline.runtime.run_folder import RunFolder

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", params=[mariadb, postgresql])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with request.param() as started:
        yield started


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BCL_METADATA", "BCL_METADATA_PASSWORD", "PGPASSWORD", "MYSQL_PWD"):
        monkeypatch.setenv(name, "")  # so that what a test sets goes with it
        monkeypatch.delenv(name)
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("BCL_METADATA_PASSWORD_FILE", str(tmp_path / "password"))


def start(home: Path, *texts: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, "-m", "tests.tfx_pipeline.history.small_pipeline", str(home), *texts]
    with open(f"{home}.out", "wb") as out:
        return subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)


def ends(process: subprocess.Popen[bytes], home: Path) -> None:
    assert process.wait(LAST_RESORT) == 0, Path(f"{home}.out").read_text(errors="replace")


def steps(home: Path) -> list[str]:
    """The steps that ran since the last call, and did not come from the cache."""
    file = home / "steps"
    found = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def test_two_at_once_one_killed_and_resumed_elsewhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BCL_METADATA", server.create("shared"))
    one, other = tmp_path / "one", tmp_path / "Größe 🎵"
    first, second = start(one, 'say "hello"\\n', "wait"), start(other, 'say "hello"\\n', "two", "two")
    try:
        ends(second, other)
        waits = one / "steps"
        assert eventually(lambda: first.poll() or (waits.exists() and "Louder wait" in waits.read_text()))
        assert first.poll() is None, Path(f"{one}.out").read_text(errors="replace")
    finally:
        first.kill()
        first.wait()
        second.kill()
        second.wait()
    said = 'say "hello"\\n'
    whole = [f"Words {said}", f"Louder {said}", f"Count {said.upper()}"]
    assert steps(one) == [*whole, "Words wait", "Louder wait"]
    # The other folder takes nothing from the first one's cache, and all from its own.
    assert steps(other) == [*whole, "Words two", "Louder two", "Count TWO"]

    # A host with another name, on which nothing but the run's folder is the same, goes on from there.
    (one / "go").touch()
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh") if os.getuid() == 0 else ()
    ends(start(one, "wait", before=elsewhere), one)
    assert steps(one) == ["Louder wait", "Count WAIT"]

    # Each folder has its own runs, without the variable, too.
    monkeypatch.delenv("BCL_METADATA")
    for home, number in ((one, 3), (other, 3)):
        recorded = read_runs(RunRecords.of(RunFolder.at(home)))
        assert len(recorded) == number and all("BCL" not in run.run_id for run in recorded)
        assert runs(["list", str(home), "--json"]) == 0
        shown = [json.loads(line)["run_id"] for line in capsys.readouterr().out.splitlines()]
        assert shown == [run.run_id for run in recorded]
    assert not (one / "metadata.sqlite").exists()
    for home in (one, other):
        for file in filter(Path.is_file, home.rglob("*")):
            assert PASSWORD.encode() not in file.read_bytes(), file
    assert b"metadata_connection_config" in (one / "run.log").read_bytes()  # so the log would have shown it

    prune_one(one, other)


def prune_one(one: Path, other: Path) -> None:
    """Pruning one folder leaves what the other one has, in files and in the database."""
    folder, untouched = RunFolder.at(one), RunRecords.of(RunFolder.at(other))
    before = [run.artifacts for run in read_runs(untouched)]
    plan(folder, 1).carry_out()
    deleted = metadata_store_pb2.Artifact.DELETED
    states = [{a.state for a in run.artifacts.values()} for run in read_runs(RunRecords.of(folder))]
    assert states[0] == {deleted} and deleted not in states[-1]
    assert [run.artifacts for run in read_runs(untouched)] == before
    assert len(list((other / "pipeline").glob("*/*/*/text"))) == 4
    assert len(list((one / "pipeline").glob("*/*/*/text"))) == 2


def test_what_cannot_be_used_ends_with_one_message(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    good = server.create("good")
    (tmp_path / "wrong").write_text("guessed-1234")
    (tmp_path / "empty").write_text("")
    cases = (
        (server.address("missing"), "password", "missing"),
        (server.address("good", user="nobody"), "password", "nobody" if server.kind == "postgresql" else "a refusal"),
        (good, "wrong", "Check the user, and the password in BCL_METADATA_PASSWORD_FILE"),
        (good, "empty", "expected one line, the password"),
        (good, "absent", "No such file"),
        (good.replace(str(server.port), "1"), "password", "expected a server at localhost, port 1. Received: "),
        (server.address("good", host="no-such-host.invalid"), "password", "expected a server at no-such-host.invalid"),
    )
    (tmp_path / "data").mkdir()
    for address, file, shown in cases:
        monkeypatch.setenv("BCL_METADATA_PASSWORD_FILE", str(tmp_path / file))
        out = tmp_path / "run"
        command = ["--data", str(tmp_path / "data"), "--out", str(out), "--metadata", address]
        assert main(command) == 2, address
        told = capfd.readouterr()
        assert shown in told.err and told.err.count("\n") == 1, told.err
        assert json.loads(told.out)["outcome"] == "bad input"
        assert "guessed" not in told.out + told.err and PASSWORD[4:] not in told.out + told.err
        assert not (out / NAME).exists() and not (out / "metadata.sqlite").exists()


def test_texts_come_back_as_they_were(server: Server) -> None:
    store = connect(DatabaseAddress.parse(server.create("texts")))
    texts = [
        "",
        "\\",
        "a\\'b",
        '{"a": "{\\"b\\": 1}"}',
        "\u29f5b \u29f5m \u29f5\u29f5 \\\u29f5",
        "漢 🎵 é",
        "%s $0 $1 ? :x",
        "line\nline\ttab",
    ]
    kind = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="any"))
    made = [metadata_store_pb2.Artifact(type_id=kind, uri=f"/x/{text}") for text in texts]
    for artifact, text in zip(made, texts, strict=True):
        artifact.custom_properties["text"].string_value = text
    ids = store.put_artifacts(made)
    found = {artifact.id: artifact for artifact in store.get_artifacts_by_id(ids)}
    assert [found[number].custom_properties["text"].string_value for number in ids] == texts
    assert [found[number].uri for number in ids] == [f"/x/{text}" for text in texts]
    assert [a.id for a in store.get_artifacts_by_uri("/x/a\\'b")] == [ids[2]]
    assert made[1].custom_properties["text"].string_value == "\\"  # what the caller gave is untouched


def test_a_database_that_changes_characters_is_refused(server: Server) -> None:
    if server.kind == "mysql":
        pytest.skip("MariaDB keeps bytes in every character set that ML Metadata's connection has")
    server.sql("CREATE DATABASE narrow ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;")
    store = connect(DatabaseAddress.parse(server.address("narrow")))
    with pytest.raises(DatabaseError, match="keeps every character"):
        register_folder(store, "one", "/home")


def test_a_folder_keeps_its_database(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.at(tmp_path / "run")
    folder.home.mkdir()
    monkeypatch.setenv("BCL_METADATA", server.create("kept"))
    begun = RunRecords.of(folder).begin(folder)
    assert begun.folder_id and RunRecords.of(folder) == begun
    assert RunRecords.of(folder, refreshes=True).owner != begun.owner
    assert read_runs(begun) == []
    monkeypatch.setenv("BCL_METADATA", server.address("another"))
    with pytest.raises(ValueError, match=r"which records the runs of .* if the database has moved"):
        RunRecords.of(folder)
    monkeypatch.delenv("BCL_METADATA")
    assert RunRecords.of(folder).folder_id == begun.folder_id


def test_the_page_of_commands(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/how-to/share-a-metadata-store.md says, with ports and folders of this test."""
    page = (ROOT / "docs" / "how-to" / "share-a-metadata-store.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.+?)^```$", page, re.MULTILINE | re.DOTALL)
    (made,) = (text for kind, text in blocks if kind == "sql" and text.startswith(f"-- {server.kind}\n"))
    server.sql(made)
    use, look = (text for kind, text in blocks if kind == "bash")
    assert "BCL_METADATA=mysql://bcl@localhost/bcl " in use and "postgresql://bcl@localhost/bcl" in use
    (tmp_path / "secret").write_text("a long password\n")
    simulate(tmp_path / "data", songs=60, users=30, plays=600, seed=1)
    for text, given in (
        ("mysql://bcl@localhost/bcl ", f"{server.kind}://bcl@localhost:{server.port}/bcl "),
        ("/etc/bcl/metadata-password", str(tmp_path / "secret")),
        ("/data/catalogue", str(tmp_path / "data")),
        ("/srv/bcl", str(tmp_path / "run")),
    ):
        use, look = use.replace(text, given), look.replace(text, given)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-ec", use], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["outcome"] == "checked", done.stderr

    monkeypatch.setenv("BCL_METADATA_PASSWORD_FILE", str(tmp_path / "secret"))
    folder = RunFolder.at(tmp_path / "run")
    folder.home.mkdir(exist_ok=True)
    monkeypatch.setenv("BCL_METADATA", f"{server.kind}://bcl@localhost:{server.port}/bcl")
    RunRecords.of(folder).begin(folder)
    monkeypatch.delenv("BCL_METADATA")
    done = subprocess.run(["bash", "-ec", look], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "") and "No model is served." in done.stdout
