"""Versions that nobody needs go, and nothing else: not what a server may serve, and not what a link leads into."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import small_model

from serving.client import Client
from serving.files.folder_lock import FolderInUseError
from serving.files.linked_files import link_tree
from serving.protocol.errors import RequestError
from serving.refresh.old_versions import GOING, old_versions, remove_old_versions
from serving.savedmodel.publish import next_version
from serving.server import EmbeddedServer
from tests.waiting import eventually


@pytest.fixture
def base(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    for number in (3, 20, 100, 1700000000):
        (base / str(number) / "variables").mkdir(parents=True)
        (base / str(number) / "saved_model.pb").write_text(str(number))
    (base / "notes").mkdir()
    return base


def config(path: Path, *models: str) -> Path:
    path.write_text("model_config_list {" + "".join(f"config {{ {model} }}" for model in models) + "}")
    return path


def of_model(base_path: Path | str, rest: str = "") -> str:
    return f'name: "m{abs(hash(rest))}" base_path: "{base_path}" model_platform: "tensorflow" {rest}'


@pytest.mark.parametrize(("keep", "gone"), [(1, (3, 20, 100)), (3, (3,)), (4, ()), (99, ())])
def test_the_latest_stay(base: Path, keep: int, gone: tuple[int, ...]) -> None:
    assert remove_old_versions(base, keep) == gone
    left = {"3", "20", "100", "1700000000", "notes"} - set(map(str, gone))
    assert set(os.listdir(base)) == left
    assert remove_old_versions(base, keep) == ()


def test_less_than_one_version_is_refused(base: Path) -> None:
    with pytest.raises(ValueError, match=r"expected at least 1 version to be kept\. Received: 0"):
        remove_old_versions(base, 0)
    assert old_versions(base, 10) == {}


def test_what_policies_and_labels_of_the_server_name_stays(base: Path, tmp_path: Path) -> None:
    def old(*models: str) -> set[int]:
        return set(old_versions(base, 1, config(tmp_path / "models.config", *models)))

    assert old(of_model(base)) == {3, 20, 100}
    assert old(of_model(base, "model_version_policy { latest { num_versions: 3 } }")) == {3}
    assert old(of_model(base, "model_version_policy { all {} }")) == set()
    assert old(of_model(base, "model_version_policy { specific { versions: 3 versions: 7 } }")) == {20, 100}
    label = 'version_labels { key: "stable" value: 20 }'
    assert old(of_model(base, label)) == {3, 100}
    # Two models of one folder, one of another, and the same folder by another name.
    specific = "model_version_policy { specific { versions: 3 } }"
    assert old(of_model(base, label), of_model(f"{base}/../base", specific), of_model("/other")) == {100}
    # The only model of a file is the one that is meant, as in a container.
    assert old(of_model("/models/bcl", specific)) == {20, 100}
    with pytest.raises(ValueError, match=r"expected a model with the base path .*base\. Received: /a, /b"):
        old(of_model("/a"), of_model("/b", label))
    (tmp_path / "models.config").write_text("no proto {")
    with pytest.raises(RequestError, match="Error parsing text-format"):
        remove_old_versions(base, 1, tmp_path / "models.config")
    assert len(os.listdir(base)) == 5


def test_what_a_link_leads_into_stays_and_links_alone_go(base: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    away.mkdir()
    (away / "saved_model.pb").write_text("away")
    (base / "50").symlink_to(away)
    (base / "3" / "more").symlink_to(base / "20" / "variables")  # of a version that itself is led to
    (base / "1700000000" / "one.pb").symlink_to(Path("..", "3", "saved_model.pb"))
    assert remove_old_versions(base, 1) == (50, 100)
    assert (base / "1700000000" / "one.pb").read_text() == "3"
    assert (away / "saved_model.pb").read_text() == "away"
    (base / "1700000000" / "one.pb").unlink()
    (base / "latest").symlink_to("20")
    assert remove_old_versions(base, 1) == (3,)
    assert set(os.listdir(base)) == {"20", "1700000000", "latest", "notes"}


def test_files_with_a_second_name_keep_it(base: Path) -> None:
    link_tree(base / "3", base / "1700000001")
    assert 3 in remove_old_versions(base, 1)
    assert (base / "1700000001" / "saved_model.pb").read_text() == "3"


def test_nothing_goes_while_a_version_is_published_and_what_was_half_gone_does(base: Path) -> None:
    with next_version(str(base)), pytest.raises(FolderInUseError, match="expected a folder that no other run uses"):
        remove_old_versions(base, 1)
    assert len(os.listdir(base)) == 5
    (base / "3").rename(base / GOING)
    assert remove_old_versions(base, 2) == (20,)
    assert set(os.listdir(base)) == {"100", "1700000000", "notes"}


def test_a_running_server_goes_on(saved_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "bcl"
    for version in (1, 2):
        small_model.publish(saved_model, base, version)
    policy = "model_version_policy { latest { num_versions: 2 } }"
    model = f'name: "bcl" base_path: "{base}" model_platform: "tensorflow" {policy}'
    file = config(tmp_path / "models.config", model)
    with (
        EmbeddedServer(port=0, model_config_file=str(file), file_system_poll_wait_seconds=0.05) as server,
        Client(server.target) as client,
    ):
        small_model.publish(saved_model, base, 3)
        assert eventually(lambda: [s.state for s in client.status()] == ["AVAILABLE", "AVAILABLE", "END"])
        assert remove_old_versions(base, 1, file) == (1,)
        assert remove_old_versions(base, 1) == (2,)
        assert eventually(lambda: [s.state for s in client.status()] == ["AVAILABLE", "END", "END"])
        assert [status.error_message for status in client.status()] == ["", "", ""]
        assert client.embed({}).shape == (1, 4)
