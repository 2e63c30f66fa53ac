"""The command line on files: what it writes and prints, and what is there after it fails."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.files.folder_lock import only_process_in
from tfx_pipeline.target import main
from tfx_pipeline.targeting import read_summary, read_targets
from tfx_pipeline.targeting.beam import input_tables

pytestmark = pytest.mark.pipeline  # the whole targeting in Beam


@pytest.fixture
def files(world, tmp_path):
    for name, schema in (
        ("catalogue", input_tables.CATALOGUE),
        ("matches", input_tables.MATCHES),
        ("plays", input_tables.PLAYS),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(pa.Table.from_pylist(getattr(world, name), schema), tmp_path / name / "part.parquet")
    return tmp_path


def command(files, *more):
    inputs = [f"--{name}={files / name}" for name in ("catalogue", "matches", "plays")]
    return main([*inputs, f"--output={files / 'targets'}", *more])


def test_the_command_writes_whole_results_and_keeps_them_when_it_fails(files, world, capsys):
    settings = ["--rule", "count", "--listeners-per-song", "7", "--songs-per-shard", "4", "--no-quota"]
    assert command(files, *settings) == 0
    printed = capsys.readouterr().out
    assert "12 cold songs in, 84 targets out" in printed and "12 songs: targeted" in printed
    everything = read_targets(str(files / "targets"))
    assert everything.num_rows == 84 and read_summary(str(files / "targets")).num_rows == 12
    for song in (world.matches[0]["song_id"], world.matches[5]["song_id"]):
        rows = read_targets(str(files / "targets"), [song]).to_pylist()
        assert rows == [row for row in everything.to_pylist() if row["song_id"] == song]
        assert [row["rank"] for row in rows] == list(range(1, 8))
    marker = json.loads((files / "targets" / "_SUCCESS").read_text())
    assert marker["settings"]["rule"] == "count" and len(marker["targets"]["files"]) == marker["shards"] == 3
    assert {path.name for path in (files / "targets").iterdir()} == {"_SUCCESS", "targets", "summary"}

    bad = pa.Table.from_pylist([{"user_id": "a", "song_id": "song000", "plays": -1}], input_tables.PLAYS)
    pq.write_table(bad, files / "plays" / "more.parquet")
    assert command(files) == 2
    assert (
        "`plays` must be a whole number of plays, 0 or more. Received: -1 for user 'a', song 'song000'\n"
        in capsys.readouterr().err
    )
    assert read_targets(str(files / "targets")).equals(everything)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "best"], "`rule` must be one of"),
        (
            ["--exclusion", "list"],
            "pipeline options of Beam. Received: ['--exclusion', 'list']",
        ),
        (["--clusters", "0"], "`clusters` must be 'auto' or a whole number of at least 1. Received: 0"),
        (
            ["--exclusions", "nowhere"],
            "`exclusions` must name a Parquet file, a folder of them or a pattern. Received: nowhere",
        ),
    ],
)
def test_bad_arguments_end_before_any_work(files, capsys, arguments, message):
    assert command(files, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (files / "targets").exists()


def test_plays_may_lie_in_folders_of_days_and_in_any_type_of_numbers(files, capsys):
    assert command(files) == 0
    wanted = read_targets(str(files / "targets"))
    whole = pq.read_table(files / "plays" / "part.parquet")
    (files / "plays" / "part.parquet").unlink()
    (files / "plays" / "_SUCCESS").write_bytes(b"")
    half = len(whole) // 2
    for day, (start, kind) in enumerate([(0, pa.float64()), (half, pa.decimal128(38, 0))]):
        (files / "plays" / f"date=2026-11-0{day + 1}").mkdir()
        part = whole.slice(start, half + len(whole) % 2)
        part = part.set_column(2, "plays", part["plays"].cast(pa.decimal128(20, 0)).cast(kind))
        pq.write_table(part, files / "plays" / f"date=2026-11-0{day + 1}" / "0.parquet")
    assert command(files) == 0
    assert read_targets(str(files / "targets")).equals(wanted)
    (files / "plays" / "_temporary").mkdir()
    assert command(files) == 2
    assert "which Spark leaves when a write did not finish" in capsys.readouterr().err


def test_names_that_could_be_patterns_are_names(files, world, capsys):
    home = files / "a[1] x*y? {b}"
    home.mkdir()
    exclusions = home / "gone[2].parquet"
    everyone = sorted({row["user_id"] for row in world.plays})
    pq.write_table(pa.table({"user_id": everyone[1:], "song_id": pa.nulls(len(everyone) - 1, pa.string())}), exclusions)
    for name in ("catalogue", "matches", "plays"):
        (files / name).rename(home / name)
    (files / "a1 xyz {b}").mkdir()  # what the pattern would find
    for _ in range(2):
        assert command(home, "--rule", "count", "--no-quota", f"--exclusions={exclusions}") == 0
        assert "12 cold songs in" in capsys.readouterr().out
        assert {path.name for path in (home / "targets").iterdir()} == {"_SUCCESS", "targets", "summary"}
        assert len(list((home / "targets" / "targets").iterdir())) == 1  # the earlier run's is gone
        assert set(read_targets(str(home / "targets"))["user_id"].to_pylist()) <= set(everyone[:1])


def test_a_folder_in_use_and_one_that_cannot_be_are_refused(files, capsys):
    with only_process_in(files / "targets"):
        assert command(files) == 2
    assert f"one in use by this process, {os.getpid()}" in capsys.readouterr().err
    assert not (files / "targets").exists()
    (files / "targets").touch()
    assert command(files) == 2
    assert "expected a folder that can be written. Received: " in capsys.readouterr().err


def test_a_catalogue_without_cold_songs_is_a_finished_run(files, world, capsys):
    warm = [row for row in world.catalogue if row["split"] == "warm"]
    pq.write_table(pa.Table.from_pylist(warm, input_tables.CATALOGUE), files / "catalogue" / "part.parquet")
    pq.write_table(pa.Table.from_pylist([], input_tables.MATCHES), files / "matches" / "part.parquet")
    assert command(files) == 0
    assert "0 cold songs in, 0 targets out" in capsys.readouterr().out


def test_reading_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="`directory` must hold _SUCCESS, which a finished targeting run leaves"
    ):
        read_targets(str(tmp_path))


@pytest.mark.parametrize("module", ["tfx_pipeline.target", "tfx_pipeline.campaign_report"])
def test_help_prints_nothing_of_imported_packages(module: str) -> None:
    """Beam and the packages below it once printed a screenful on import, before `--help`."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and done.stdout.startswith("usage:")
    assert done.stderr == ""
