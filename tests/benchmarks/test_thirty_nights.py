"""The checks of the thirty nights, without running a night."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import sys
import zipfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.thirty_nights import calendar, checks, disk, processes
from benchmarks.thirty_nights.picture import draw
from benchmarks.thirty_nights.report import reached, report, summary
from benchmarks.thirty_nights.service import MARK, NEW_A_DAY, OLD_SONGS, Service
from benchmarks.thirty_nights.traces import ALLOWED, files_with, is_allowed
from tfx_pipeline.contract import ContractError, check

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "personal-data.md"


@pytest.fixture(scope="module")
def service() -> Service:
    return Service.invent(3)


def test_the_plan_has_each_kind_of_night_and_no_two_in_a_row() -> None:
    nights = [calendar.night(number) for number in range(1, calendar.NIGHTS + 1)]
    special = [night.number for night in nights if night.what != calendar.ORDINARY]
    assert all(later - earlier > 1 for earlier, later in pairwise(special))
    assert sorted({night.exit_code for night in nights}) == [-9, 0, 2, 3]
    assert {night.killed_after for night in nights} == {None, "Trainer", "Pusher"}
    by_kind = {night.what: night for night in nights}
    assert by_kind[calendar.NOTHING_NEW].day == by_kind[calendar.NOTHING_NEW].number - 1
    assert by_kind[calendar.AS_BEFORE].day == by_kind[calendar.AS_BEFORE].number - 2
    quiet = by_kind[calendar.NO_PLAYS]
    assert calendar.is_quiet(quiet.day) and not calendar.is_quiet(quiet.day + 1) and quiet.pushes
    assert by_kind[calendar.KILLED + "Pusher"].pushes and not by_kind[calendar.KILLED + "Trainer"].pushes


def test_new_songs_come_without_plays_and_get_listeners_day_by_day(service: Service, tmp_path: Path) -> None:
    service.write(tmp_path, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plays.parquet", "songs.parquet"]
    songs, plays = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("songs", "plays"))
    assert songs.num_rows == OLD_SONGS + 4 * NEW_A_DAY and "day" not in songs.column_names + plays.column_names
    assert check(tmp_path).num_plays == plays.num_rows
    played = plays["song_id"].to_pylist()
    newest = songs["song_id"].to_pylist()[-NEW_A_DAY:]
    assert not set(newest) & set(played)
    for song in newest:
        counts = [len(service.listeners(day).get(song, ())) for day in range(4, 12)]
        assert counts[0] == 0 and counts == sorted(counts) and counts[-1] > 3
    (quiet,) = [day for day in range(1, calendar.NIGHTS) if calendar.is_quiet(day)]
    assert quiet not in service.plays["day"].to_pylist() and quiet + 1 in service.plays["day"].to_pylist()
    assert all(user.endswith(MARK) for user in plays["user_id"].to_pylist())


def test_a_file_that_is_cut_short_breaks_the_contract_and_a_column_can_be_gone(
    service: Service, tmp_path: Path
) -> None:
    service.write(tmp_path, 2, without="audio_tempo")
    assert "audio_tempo" not in {field.name for field in check(tmp_path).fields}
    service.write(tmp_path, 2, cut_short=True)
    with pytest.raises(ContractError, match=r"plays\.parquet"):
        check(tmp_path)


def test_traces_are_found_whatever_packs_them(tmp_path: Path) -> None:
    name = f"hörer-001{MARK}"
    pq.write_table(pa.table({"user_id": [name] * 9}), tmp_path / "a.parquet", compression="zstd")
    pq.write_table(pa.table({"nested": [[{"x": name.encode()}]]}), tmp_path / "bytes.parquet", compression="gzip")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"\0\1" + name.encode()))
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", name)
    (tmp_path / "d.json").write_text(json.dumps({"user": name}))
    (tmp_path / "e.log").write_text(repr(name.encode()))
    with sqlite3.connect(tmp_path / "f.sqlite") as database:
        database.execute("CREATE TABLE t (u TEXT)")
        database.execute("INSERT INTO t VALUES (?)", (name,))
    (tmp_path / "g").write_text("\\".join(["h", "303", "266rer-001@n", "303", "244chtlich.example"]))
    (tmp_path / name).write_text("")
    (tmp_path / "clean").write_text("hörer of nächtlich.example")
    (tmp_path / "link").symlink_to(tmp_path / "b.gz")
    every = ["a.parquet", "b.gz", "bytes.parquet", "c.zip", "d.json", "e.log", "f.sqlite", "g", name]
    assert sorted(files_with(tmp_path, [MARK])) == sorted(every)
    assert sorted(files_with(tmp_path, [f"hörer-001{MARK}"])) == sorted(every)
    assert files_with(tmp_path, ["hörer-002"]) == []


def test_allowed_places_are_those_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for place in ALLOWED:
        named = place.strip("/").replace("latest/targets.parquet", "targets*.parquet")
        assert named in page, place
    assert is_allowed("history/2026-11-01T02-00-00/targets.parquet") and is_allowed("pipeline/PlayGen/examples/7/x.gz")
    for file in ("history/2026/matches.parquet", "pipeline/SongGen/examples/7/x.gz", "run.log", "metadata.sqlite"):
        assert not is_allowed(file)


def ended(code: int = 0, line: dict[str, str] | None = None, messages: str = "") -> processes.Ended:
    return processes.Ended(code, line if line is not None or code < 0 else {"outcome": "pushed"}, messages, 1.0, 1.0, 1)


def published(service: Service, day: int, **changes: Any) -> checks.Published:
    """All that a good night publishes, written out from the truth."""
    songs = service.songs_until(day)
    listeners = service.listeners(day)
    warm = {song for song in songs if len(listeners.get(song, ())) >= 3}
    new = frozenset(songs) - warm
    stranger = f"nobody{MARK}"
    whole = checks.Published("now", "2", frozenset(warm), new, {song: {stranger} for song in new})
    return replace(whole, **changes)


def test_a_good_night_breaks_nothing(service: Service) -> None:
    before, now = {"served": "1", "latest": "then"}, {"served": "2", "latest": "now", "outcome": "pushed"}
    plan = calendar.night(6)
    assert checks.broken(plan, ended(), before, now, published(service, 6), service) == []
    killed = calendar.night(14)
    assert checks.broken(killed, ended(-9), before, {**before, "outcome": None}, published(service, 13), service) == []


@pytest.mark.parametrize(
    ("number", "how", "now", "changes", "problem"),
    [
        (6, ended(1), {}, {}, "exit code: expected 0. Received: 1"),
        (6, ended(messages="Traceback (most recent"), {}, {}, "expected no traceback"),
        (6, ended(), {"served": "1"}, {}, "expected a version after 1"),
        (6, ended(), {"latest": "then"}, {}, "expected another folder than then"),
        (8, ended(), {}, {}, "served: expected 1 still. Received: 2"),
        (11, ended(2), {"served": "1"}, {}, "latest: expected then still"),
        (14, ended(-9, {"outcome": "pushed"}), {"served": "1", "latest": "then"}, {}, "none of a killed run"),
        (20, ended(), {"outcome": "unchanged"}, {}, "expected the earlier model to be pushed again"),
        (6, ended(), {}, {"matched": frozenset()}, "matches: expected all"),
        (6, ended(), {}, {"targets": {}}, "targets: expected all"),
        (6, ended(), {}, {"retrieved": frozenset()}, "index: expected"),
    ],
)
def test_each_problem_is_reported(
    service: Service, number: int, how: processes.Ended, now: dict, changes: dict, problem: str
) -> None:
    plan = calendar.night(number)
    before = {"served": "1", "latest": "then"}
    found = checks.broken(
        plan,
        how,
        before,
        {"served": "2", "latest": "now", "outcome": "pushed"} | now,
        published(service, plan.day, **changes),
        service,
    )
    assert any(problem in line for line in found), found


def test_targets_who_played_the_song_are_reported(service: Service) -> None:
    whole = published(service, 6)
    song = next(song for song in whole.targets if song in service.listeners(6))
    wrong = replace(whole, targets={**whole.targets, song: service.listeners(6)[song]})
    now = {"served": "2", "latest": "now", "outcome": "pushed"}
    (line,) = checks.broken(calendar.night(6), ended(), {"served": "1", "latest": "then"}, now, wrong, service)
    assert line.startswith(f"targets of {song}: expected nobody who played it")


def test_a_process_is_killed_after_a_line_with_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for a minute, and so would what it started."""
    (tmp_path / "slow.py").write_text(
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print('  Trainer 1 s', file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    (tmp_path / "quick.py").write_text("import sys; print('words'); print('{\"outcome\": \"pushed\"}'); sys.exit(3)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    killed = processes.run(["slow"], tmp_path / "temporary", kill_after="Trainer")
    assert (killed.exit_code, killed.line, killed.messages) == (-9, None, "  Trainer 1 s\n")
    done = processes.run(["quick"], tmp_path / "temporary", kill_after="Trainer")
    assert (done.exit_code, done.line) == (3, {"outcome": "pushed"}) and done.peak > 1_000_000


def test_a_file_of_two_names_takes_its_room_once(tmp_path: Path) -> None:
    for name in ("serving", "pipeline"):
        (tmp_path / name).mkdir()
    (tmp_path / "serving" / "model").write_bytes(os.urandom(100_000))
    one = disk.taken(tmp_path)
    os.link(tmp_path / "serving" / "model", tmp_path / "pipeline" / "model")
    assert disk.taken(tmp_path)["all"] == one["all"] >= 100_000 and disk.taken(tmp_path)["files"] == 1


def noted(number: int, service: Service, growth: float = 0.0) -> dict:
    song = service.songs["song_id"][OLD_SONGS + number].as_py()
    users = sorted(service.listeners()[song])
    size = 1e8 * (1 + growth * number)
    return {
        "night": number,
        "what": calendar.night(number).what,
        "exit_code": 0,
        "outcome": "pushed",
        "seconds": 40.0,
        "cpu": 30.0,
        "peak": 1e9,
        "disk": {"all": size, "files": 500, "metadata.sqlite": 1e6},
        "targets": {song: [*users[:1], f"nobody{MARK}"]},
        "problems": ["a | b"] if number == 7 else [],
        "leaks": ["run.log"] if number == 9 else [],
    }


def test_flat_is_told_from_growing_and_reach_from_chance(service: Service, tmp_path: Path) -> None:
    flat, growing = ([noted(n, service, growth) for n in range(1, 31)] for growth in (0.0, 0.1))
    assert summary(flat, service)["disk"]["change"] == 0 and summary(flat[:19], service)["disk"] is None
    late, early = 1 + 0.1 * 28, 1 + 0.1 * 13
    assert summary(growing, service)["disk"]["change"] == pytest.approx(late / early - 1)
    found = reached(flat, service)
    assert found["songs"] == 30 and found["targets"] == 60 and found["share"] == 0.5
    assert 0 < found["share of anybody"] < 0.5
    whole = {"nights": flat, "summary": summary(flat, service), "keep": 5}
    page = report(whole)
    assert page.count("\n| ") == 32 and "id in run.log" in page and "Nights with a problem: 7." in page
    draw(whole, tmp_path / "nights.png")
    assert (tmp_path / "nights.png").stat().st_size > 5_000
