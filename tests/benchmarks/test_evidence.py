"""One command from data to pages: which sets it takes, which it makes, and what it says when there is nothing."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import evidence
from benchmarks.quality import __main__ as quality
from tests.tfx_pipeline.datasets.test_lastfm import pack


def test_sets_are_taken_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SIMULATION", {"songs": 60, "users": 20, "plays": 300, "seed": 0})
    data, made = tmp_path / "data", tmp_path / "made"
    (data / "raw").mkdir(parents=True)
    pack(data / evidence.ARCHIVE)
    found = evidence.folders_of(data, made, evidence.SETS)
    assert [folder.name for folder in found] == ["lastfm-2k-strangers", "lastfm-2k", "simulated"]
    tags = [pq.read_table(folder / "songs.parquet")["attribute_tags"].to_pylist() for folder in found[:2]]
    assert tags[0] == [["pop"], None, None, None] and tags[1][2] == ["indie pop"]
    written = [(folder / "songs.parquet").stat().st_mtime_ns for folder in found]
    assert evidence.folders_of(data, made, evidence.SETS) == found
    assert [(folder / "songs.parquet").stat().st_mtime_ns for folder in found] == written  # made once


def test_a_quick_run_asks_for_one_set_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw").mkdir()
    pack(tmp_path / evidence.ARCHIVE)
    asked: list[list[str]] = []

    def measured(arguments: list[str]) -> int:
        asked.append(arguments)
        return 0

    monkeypatch.setattr(quality, "main", measured)
    out = tmp_path / "out"
    assert evidence.main([str(tmp_path), "--quick", "--out", str(out), "--rows", "random"]) == 0
    folder = str(out / "data" / "lastfm-2k-strangers")
    assert asked == [["--data", folder, "--out", str(out), "--seeds", "5", "--rows", "random", "--quick"]]


def test_without_data_it_says_what_it_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evidence.main([str(tmp_path), "--quick", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "expected folders of lastfm-2k-strangers, or raw/hetrec" in message
    with pytest.raises(SystemExit):
        evidence.main([str(tmp_path)])
    assert "--hardware is needed, or --quick" in capsys.readouterr().err
