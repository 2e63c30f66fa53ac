"""A run that takes its model from the cache while another one is served, on records that ML Metadata itself wrote."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from serving.savedmodel.publish import PublishError, latest_version, next_version
from tests.tfx_pipeline.history.recorded_nights import Nights
from tfx_pipeline.history.pruning import plan
from tfx_pipeline.history.rollback import roll_back
from tfx_pipeline.history.run_records import RunRecords
from tfx_pipeline.history.served_again import serve_index_of_last_refresh, serve_model_of_last_run
from tfx_pipeline.history.served_copies import pushed_as
from tfx_pipeline.reports.run_outcome import of_record
from tfx_pipeline.runs import main
from tfx_pipeline.runtime.run_folder import RunFolder


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(RunFolder.at(tmp_path / "Nächte 日"))


def model_of(nights: Nights, run: int) -> str:
    """What the archive of a run's Pusher holds."""
    return (Path(nights.made[run]["Pusher"].uri) / "file").read_text()


def archive_models(nights: Nights) -> None:
    """Gives each run's archive a content of its own, as the Pusher leaves it."""
    for number, made in enumerate(nights.made):
        if "Pusher" in made and Path(made["Pusher"].uri).is_dir():
            (Path(made["Pusher"].uri) / "file").write_text(f"model of run {number}")


def served(nights: Nights) -> str:
    return (Path(latest_version(str(nights.folder.serving))[1]) / "file").read_text()


def number(nights: Nights) -> int:
    return latest_version(str(nights.folder.serving))[0]


def settle(nights: Nights) -> str | None:
    archive_models(nights)
    return serve_model_of_last_run(nights.folder).line


def statistics(nights: Nights) -> str:
    return (nights.folder.kept_statistics / "songs" / "FeatureStats.pb").read_text()


def statistics_of(nights: Nights, run: int) -> str:
    return (Path(nights.made[run]["SongStatistics"].uri) / "Split-all" / "FeatureStats.pb").read_text()


def test_data_that_returns_brings_its_model_back(nights: Nights) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    nights.folder.judged_model.mkdir()
    nights.add("pushed", cached=True, of=0)
    line = settle(nights)
    assert line == f"The data gives version {first} again. It is served as version {int(second) + 1}."
    assert served(nights) == model_of(nights, 0) and number(nights) == int(second) + 1
    assert os.path.samefile(
        Path(nights.made[0]["Pusher"].uri) / "file", nights.folder.serving / str(number(nights)) / "file"
    )
    assert statistics(nights) == statistics_of(nights, 0)
    judged = Path(nights.made[0]["Trainer"].uri) / "Format-Serving" / "file"
    assert (nights.folder.judged_model / "file").read_text() == judged.read_text()

    nights.add("pushed", cached=True, of=0)  # the night after, with the same data
    before = number(nights)
    assert settle(nights) is None and number(nights) == before
    nights.add("pushed", cached=True, of=1)  # and there again
    assert settle(nights) is not None and served(nights) == model_of(nights, 1)
    assert statistics(nights) == statistics_of(nights, 1)


def test_the_newest_model_is_left_alone(nights: Nights) -> None:
    nights.add("pushed")
    newest = nights.add("pushed")
    assert settle(nights) is None and number(nights) == int(newest)
    nights.add("refused")
    assert settle(nights) is None and number(nights) == int(newest)
    nights.add("refused", cached=True)
    assert settle(nights) is None and number(nights) == int(newest)


@pytest.mark.parametrize("goes_back_to_first", [False, True])
def test_a_model_that_was_rolled_back_stays_away(nights: Nights, goes_back_to_first: bool) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    archive_models(nights)
    shutil.rmtree(nights.folder.serving)
    for run, version in enumerate((first, second)):
        shutil.copytree(nights.made[run]["Pusher"].uri, nights.folder.serving / version)
    roll_back(nights.folder.serving)
    copy = number(nights)
    nights.add("pushed", cached=True, of=0 if goes_back_to_first else 1)
    found = serve_model_of_last_run(nights.folder)
    assert served(nights) == model_of(nights, 0) and number(nights) == copy
    assert found.is_rolled_back != goes_back_to_first
    assert (found.line is None) == goes_back_to_first
    assert found.line is None or f"It was rolled back, so version {copy} is still served" in found.line
    nights.add("pushed")
    nights.add("pushed", cached=True, of=1)  # long after: the record says it still
    assert serve_model_of_last_run(nights.folder).is_rolled_back and number(nights) != copy + 1


def test_a_refresh_of_the_model_counts_as_the_model(nights: Nights) -> None:
    """Whoever made the next version from it, also from a copy of it, whose record goes along."""
    first, second = nights.add("pushed"), nights.add("pushed")
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    with next_version(str(nights.folder.serving)) as publication:
        shutil.copytree(publication.latest, publication.staging)
        (Path(publication.staging) / "file").write_text("with a song more")
    nights.add("pushed", cached=True, of=0)
    assert settle(nights) is None and served(nights) == "with a song more"
    assert pushed_as(nights.folder.serving, number(nights), {int(first), int(second)}) == int(first)
    nights.add("refused")
    plan(nights.folder, 1).carry_out()  # what is served comes from the first run, not from the second
    assert Path(nights.made[0]["Pusher"].uri).exists() and not Path(nights.made[1]["Pusher"].uri).exists()
    nights.add("pushed", cached=True, of=0)
    assert settle(nights) is None


def test_versions_that_were_pruned_or_removed_come_from_the_archive(nights: Nights) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    shutil.rmtree(nights.folder.serving / first)
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    assert served(nights) == model_of(nights, 0)
    shutil.rmtree(nights.folder.serving)
    nights.add("pushed", cached=True, of=1)
    settle(nights)
    assert served(nights) == model_of(nights, 1) and number(nights) == int(second)
    nights.add("pushed", cached=True, of=1)
    assert settle(nights) is None


def test_the_report_on_the_judged_model_is_copied(nights: Nights) -> None:
    nights.add("pushed")
    run = nights.names[-1]
    blessing = nights.give(0, "ServedModelChecker", "blessing", "ModelBlessing", "served.json", '{"blessed": true}')
    nights.add("pushed")
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    assert (
        run
        and (nights.folder.serving / str(number(nights)) / "assets.extra" / "served.json").read_text()
        == (Path(blessing.uri) / "served.json").read_text()
    )


def test_lost_memory_of_the_gates_is_restored(nights: Nights) -> None:
    """As where a run was killed between the copy and what the gates compare with, or somebody removed it."""
    nights.add("pushed")
    nights.add("pushed", cached=True)
    settle(nights)
    assert statistics(nights) == statistics_of(nights, 0)
    (nights.folder.kept_statistics / "songs" / "FeatureStats.pb").unlink()
    (nights.folder.kept_statistics / "songs" / "FeatureStats.pb").write_text("of another run")
    nights.add("pushed", cached=True)
    settle(nights)
    assert statistics(nights) == statistics_of(nights, 0)


def test_the_report_of_the_data_is_that_of_the_last_run(nights: Nights) -> None:
    """A gate that passed from the cache writes nothing, and the refusal of the night before would stay."""
    nights.add("pushed")
    nights.give(0, "DataGate", "report_of_data", "bcl.DataReport", "report.txt", "no difference")
    report = nights.folder.home / "kept_statistics_report.txt"
    nights.add("stopped")
    report.write_text("stops the run: plays\n")
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    assert report.read_text() == "no difference\n"


def test_a_publication_under_way_stops_it_and_the_next_run_does_it(nights: Nights) -> None:
    nights.add("pushed")
    nights.add("pushed")
    nights.add("pushed", cached=True, of=0)
    archive_models(nights)
    with next_version(str(nights.folder.serving)), pytest.raises(PublishError):
        serve_model_of_last_run(nights.folder)
    before = number(nights)
    assert settle(nights) is not None and number(nights) == before + 1


def test_the_line_of_the_run_names_the_served_version(nights: Nights) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    folder = nights.folder

    def printed() -> tuple[object, ...]:
        found = of_record(folder)
        line = json.loads(found.line(folder, 1.0, None))
        return found.exit_code, line["outcome"], line["model_version"], line["served_version"], len(line["reasons"])

    assert printed() == (0, "pushed", second, second, 0)
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    copy = str(int(second) + 1)
    assert printed() == (0, "pushed", copy, copy, 0)
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    assert printed() == (0, "unchanged", first, copy, 0)
    roll_back(folder.serving)
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    assert printed() == (0, "unchanged", first, str(int(copy) + 1), 1)
    nights.add("refused")
    settle(nights)
    assert printed() == (3, "refused", None, str(int(copy) + 1), 0)


def test_the_list_and_the_way_back(nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = nights.add("pushed"), nights.add("pushed")
    nights.publish(0)
    nights.publish(1)
    content = served(nights)
    nights.add("pushed", cached=True, of=0)
    settle(nights)
    copy = number(nights)
    assert main(["list", str(nights.folder.home), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shown = [(line["outcome"], line["model_version"], line["served"]) for line in lines]
    assert shown == [("pushed", first, False), ("pushed", second, False), ("pushed", str(copy), True)]

    assert main(["rollback", str(nights.folder.home)]) == 0  # to what was served before it
    assert served(nights) == content and statistics(nights) == statistics_of(nights, 1)
    assert os.readlink(nights.folder.latest).endswith(nights.names[1].replace(":", "-"))
    capsys.readouterr()
    assert main(["list", str(nights.folder.home)]) == 0
    assert f"{second} *" in (printed := capsys.readouterr().out) and f"a copy of {second}\n" in printed
    nights.add("pushed", cached=True, of=0)
    assert serve_model_of_last_run(nights.folder).is_rolled_back


def test_a_refreshed_index_that_is_gone_comes_back(tmp_path: Path) -> None:
    """The refresh starts from the version that is served; where that is one of before, the cache has its result."""
    nights = Nights(RunFolder.at(tmp_path))
    (nights.folder.serving / "7").mkdir(parents=True)
    refreshed = nights.add("pushed")
    archive_models(nights)
    shutil.rmtree(nights.folder.serving / refreshed)
    nights.add("pushed", cached=True)
    serve_index_of_last_refresh(nights.folder.serving, RunRecords.of(nights.folder))
    assert served(nights) == model_of(nights, 0) and number(nights) == 8
    serve_index_of_last_refresh(nights.folder.serving, RunRecords.of(nights.folder))
    assert number(nights) == 8
