"""The list of runs and the way back, on records that ML Metadata itself wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from serving.files.folder_lock import only_process_in
from serving.savedmodel.publish import latest_version
from tests.tfx_pipeline.history.recorded_nights import Nights
from tfx_pipeline.history.rollback import roll_back
from tfx_pipeline.runs import main
from tfx_pipeline.runtime.run_folder import RunFolder


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(RunFolder.at(tmp_path / "run"))


def served(nights: Nights) -> str:
    return (Path(latest_version(str(nights.folder.serving))[1]) / "file").read_text()


def test_the_list(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    first = nights.add("pushed", recall=0.125)
    nights.add("pushed", cached=True, recall=0.125)
    second = nights.add("pushed", recall=0.5)
    for outcome in ("refused", "stopped", "killed"):
        nights.add(outcome)
    assert main(["list", str(nights.folder.home), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["run_id"] for line in lines] == nights.names
    outcomes = [(line["outcome"], line["model_version"], line["served"]) for line in lines]
    assert outcomes == [
        ("pushed", first, False),
        ("unchanged", first, False),
        ("pushed", second, True),
        ("refused", None, False),
        ("refused", None, False),
        ("failed", None, False),
    ]
    assert [line["recall"] for line in lines[:3]] == [{"recall@50": r} for r in (0.125, 0.125, 0.5)]
    assert [line["recall"] for line in lines[4:]] == [None, None]
    assert main(["list", str(nights.folder.home)]) == 0
    table = capsys.readouterr().out
    assert f"{second} *" in table and "0.500 (recall@50)" in table and f"Served: version {second}\n" in table


def test_back_to_the_model_before(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    nights.publish(0)
    nights.publish(1)
    for folder in ("songs", "plays"):
        (nights.folder.kept_statistics / folder).mkdir(parents=True)
        (nights.folder.kept_statistics / folder / "FeatureStats.pb").write_text("of the second")
    (nights.folder.home / "judged_model").mkdir()
    models = {version: (nights.folder.serving / version / "file").read_text() for version in (first, second)}
    assert served(nights) == models[second]
    assert main(["rollback", str(nights.folder.home), "--dry-run"]) == 0
    assert f"would serve version {first} in place of {second}" in capsys.readouterr().out
    assert served(nights) == models[second]

    assert main(["rollback", str(nights.folder.home)]) == 0
    assert served(nights) == models[first]
    number, path = latest_version(str(nights.folder.serving))
    assert number > int(second) and os.path.samefile(f"{path}/file", nights.folder.serving / first / "file")
    statistics = Path(nights.made[0]["SongStatistics"].uri) / "Split-all" / "FeatureStats.pb"
    assert (nights.folder.kept_statistics / "songs" / "FeatureStats.pb").read_text() == statistics.read_text()
    judged = Path(nights.made[0]["Trainer"].uri) / "Format-Serving" / "file"
    assert (nights.folder.home / "judged_model" / "file").read_text() == judged.read_text()
    assert os.readlink(nights.folder.home / "latest").endswith(nights.names[0].replace(":", "-"))
    capsys.readouterr()
    assert main(["list", str(nights.folder.home)]) == 0
    assert f"Served: version {number}, a copy of {first}\n" in capsys.readouterr().out
    assert sorted(p.name for p in nights.folder.serving.iterdir()) == [first, second, str(number)]


def test_a_second_rollback_goes_further_back(nights: Nights) -> None:
    models = [nights.add("pushed") for _ in range(3)]
    base = nights.folder.serving
    contents = {version: (base / version / "file").read_text() for version in models}
    assert str(roll_back(base).source) == models[1]
    assert str(roll_back(base).source) == models[0] and served(nights) == contents[models[0]]
    with pytest.raises(ValueError, match=rf"a copy of version {models[0]}, and none\."):
        roll_back(base)
    assert served(nights) == contents[models[0]]


def test_the_way_back_from_a_copy_that_was_refreshed(nights: Nights) -> None:
    """A refresh copies the record of the copy along; it is a version of its own, and the copy lies before it."""
    nights.add("pushed")
    nights.add("pushed")
    base = nights.folder.serving
    copy = roll_back(base).published
    refreshed = base / str(copy + 1)
    os.makedirs(refreshed / "assets.extra")
    (refreshed / "file").write_text("refreshed")
    record = (base / str(copy) / "assets.extra" / "rollback.json").read_text()
    (refreshed / "assets.extra" / "rollback.json").write_text(record)
    assert roll_back(base).source == copy


def test_a_later_night_after_a_rollback(nights: Nights) -> None:
    first = nights.add("pushed")
    content = served(nights)
    nights.add("pushed")
    base = nights.folder.serving
    copy = roll_back(base).published
    os.makedirs(base / "99999")
    (base / "99999" / "file").write_text("bad again")
    assert roll_back(base).source == copy and served(nights) == content
    assert first in os.listdir(base)


def test_a_note_names_what_was_pruned(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    nights.add("pushed")
    nights.add("pushed")
    (nights.folder.kept_statistics / "songs").mkdir(parents=True)
    for component in ("SongStatistics", "PlayStatistics"):
        for file in sorted(Path(nights.made[0][component].uri).rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    assert main(["rollback", str(nights.folder.home)]) == 0
    assert "note: " in (shown := capsys.readouterr().out) and "kept_statistics: the data gate still" in shown
    assert (nights.folder.kept_statistics / "songs").is_dir()


def test_bad_input_ends_with_one_message(nights: Nights, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metadata.sqlite").write_text("no database, but some text that is long enough to be read")
    run = str(nights.folder.home)
    for command, shown in (
        (["list", str(tmp_path / "nowhere")], "expected the folder of a run. Received: no such folder"),
        (["list", str(tmp_path / "empty")], "expected the record of a run. Received: no such file"),
        (["list", str(tmp_path / "other")], "expected a database of ML Metadata"),
        (["rollback", str(tmp_path / "empty")], "expected a folder of model versions"),
        (["rollback", run], "expected a folder of model versions"),
        (["prune", str(tmp_path / "other"), "--keep", "1"], "expected a database of ML Metadata"),
    ):
        assert main(command) == 2, command
        told = capsys.readouterr()
        assert shown in told.err and told.err.count("\n") == 1 and told.out == ""
    nights.add("pushed")
    assert main(["rollback", run]) == 2
    assert "expected a version before" in capsys.readouterr().err


def test_a_run_under_way_is_left_alone(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    nights.add("pushed")
    nights.add("pushed")
    with only_process_in(nights.folder.home):
        assert main(["list", str(nights.folder.home)]) == 0
        for command in (["rollback"], ["prune", "--keep", "1"]):
            assert main([command[0], str(nights.folder.home), *command[1:]]) == 2
            assert "expected a folder that no other run uses" in capsys.readouterr().err
    assert len(list(nights.folder.serving.iterdir())) == 2
