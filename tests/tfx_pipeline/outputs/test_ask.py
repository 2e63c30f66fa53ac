"""Questions about a song, asked as a user asks them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.outputs.small_result import SETTINGS, USERS, refused, small_result
from tfx_pipeline import ask
from tfx_pipeline.outputs.publishing import publish


@pytest.fixture
def home(tmp_path):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    return folder.home


def asked(capsys, *arguments: object) -> str:
    assert ask.main([str(argument) for argument in arguments]) == 0
    out, err = capsys.readouterr()
    assert not err
    return out


def test_matches_and_listeners_with_reasons(home, capsys):
    found = json.loads(asked(capsys, home, "--song", "n1", "--format", "json"))
    assert (found["song_id"], found["split"], found["model_version"]) == ("n1", "new", "1761966245")
    assert found["run_id"] == "2026-11-01T03-04-05.000006" and found["note"] is None
    first, second = found["matches"]
    assert first == {
        "rank": 1,
        "song_id": "w1",
        "title": "First\nline",
        "score": pytest.approx(0.9),
        "in_common": {"attribute_genre": ["rock"], "attribute_tags": ["loud"], "attribute_year": [1999.0]},
        "shares": {"attribute_genre": 0.75, "numbers": 0.25, "rest": pytest.approx(-0.1)},
        "chance": 0.75,
        "chance_low": 0.5,
        "chance_high": 0.875,
    }
    assert found["reliability"] == pytest.approx(0.881, abs=1e-3)
    assert second["in_common"] == {} and second["score"] == -0.25
    assert [(row["rank"], row["user_id"], row["group"]) for row in found["listeners"]] == [
        (1, USERS[0], "target"),
        (2, USERS[1], "held_aside"),
        (3, USERS[2], "target"),
    ]
    assert found["listeners"][0]["plays"] == [{"song_id": "w1", "title": "First\nline", "score": pytest.approx(0.9)}]
    assert len(found["listeners"][2]["plays"]) == 2


def test_the_table_has_a_line_for_each(home, capsys):
    lines = asked(capsys, home, "--song", "n1").splitlines()
    assert lines[0] == "Neu \u05e9\u05dc\u05d5\u05dd (n1), split new; run 2026-11-01T03-04-05.000006, model 1761966245"
    assert lines[1] == "  reliability of the matches: 0.88 (0 to 1: the recall to expect)"
    why = "genre rock; tags loud; year 1999 | genre +0.750, numbers +0.250, rest -0.100"
    assert lines[3].split() == f"1. First\\nline 0.900 0.75 [0.50, 0.88] {why}".split()
    assert lines[4].split() == ["2.", "B", "-0.250", "0.12", "[0.00,", "0.25]", "genre", "-0.250"]
    assert lines[2].index("chance [95 %]") == lines[3].index("0.75 [") == lines[4].index("0.12 [")
    assert lines[5] == "  (chance: how likely a match is among the 20 songs of most similar audience)"
    assert lines[7].split() == ["1.", "listener-a", "1.000", "First\\nline"]
    assert lines[8].endswith("(held_aside)")
    assert len(lines) == 10
    assert len(asked(capsys, home, "--song", "n1", "--matches", 1, "--listeners", 1).splitlines()) == 7


def test_matches_without_chances_are_shown_without_them(home, capsys):
    found = json.loads(asked(capsys, home, "--song", "n2", "--format", "json"))
    chances = [[match[name] for name in ("chance", "chance_low", "chance_high")] for match in found["matches"]]
    assert chances == [[None] * 3] * 2
    assert "chance" not in asked(capsys, home, "--song", "n2")


def test_published_runs_without_shares_are_read(home, capsys):
    file = home / "latest" / "matches.parquet"
    chances = ["match_chances", "match_chances_low", "match_chances_high"]
    older = pq.read_table(file).drop(["match_shares", "share_names", "reliability", *chances])
    pq.write_table(older, file)
    found = json.loads(asked(capsys, home, "--song", "n1", "--format", "json"))
    assert found["reliability"] is None and [match["shares"] for match in found["matches"]] == [{}, {}]
    table = asked(capsys, home, "--song", "n1")
    assert "reliability" not in table and "chance" not in table


def test_csv_has_a_row_for_each(home, capsys):
    rows = list(csv.DictReader(io.StringIO(asked(capsys, home, "--song", "n1", "--format", "csv"))))
    assert [(row["kind"], row["rank"], row["id"]) for row in rows] == [
        ("match", "1", "w1"),
        ("match", "2", "w2"),
        ("listener", "1", USERS[0]),
        ("held_aside", "2", USERS[1]),
        ("listener", "3", USERS[2]),
    ]
    assert rows[0]["title"] == "First\nline" and rows[0]["why"] == "genre rock; tags loud; year 1999"
    assert rows[0]["shares"] == "genre 0.75; numbers 0.25; rest -0.1"
    assert rows[2]["why"] == "plays First\nline" and rows[2]["shares"] == rows[2]["chance"] == ""
    assert [rows[1][name] for name in ("chance", "chance_low", "chance_high")] == ["0.125", "0.0", "0.25"]


def test_a_song_without_listeners_says_why(home, capsys):
    assert "No listeners: matches have no listeners." in asked(capsys, home, "--song", "n2")
    assert "sought none for songs of split `val`" in asked(capsys, home, "--song", "v1")
    held_out = json.loads(asked(capsys, home, "--song", "v1", "--format", "json"))
    assert held_out["listeners"] == [] and held_out["matches"][0]["in_common"] == {
        "attribute_genre": ["folk"],
        "attribute_year": [2001.0],
    }


@pytest.mark.parametrize("song", ["n3", "N1", "n1 ", "", "\u05e9", "../../latest", "line\nbreak", "x" * 3000])
def test_an_unknown_song_is_one_line(home, capsys, song):
    assert ask.main([str(home), "--song", song]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and len(err) < 500
    assert err.startswith(f"--song: expected the id of a song of run 2026-11-01T03-04-05.000006 in {home}. Received: ")


def test_a_folder_without_a_published_run_is_one_line(tmp_path, capsys):
    folder, result = small_result(tmp_path)
    for home, shown in (
        (tmp_path / "none", "expected the folder of a run. Received: no such folder"),
        (folder.home, "expected the folder of a run, with `latest` in it"),
    ):
        assert ask.main([str(home), "--song", "n1"]) == 2
        err = capsys.readouterr().err
        assert shown in err and err.count("\n") == 1
    publish(folder, refused(result, "2026-11-01"), SETTINGS)
    assert ask.main([str(folder.home), "--song", "n1"]) == 2
    assert "the last was refused: val: expected a gain of 1000" in capsys.readouterr().err


def test_damaged_and_later_outputs_are_one_line(tmp_path, capsys):
    folder, result = small_result(tmp_path)
    publish(folder, result, SETTINGS)
    (folder.latest / "matches.parquet").write_bytes(b"PAR1")
    assert ask.main([str(folder.home), "--song", "n1"]) == 2
    err = capsys.readouterr().err
    assert "matches.parquet: expected a published table. Received: " in err and err.count("\n") == 1
    publish(folder, replace(result, run_id="2026-11-02", artifacts="b"), SETTINGS)
    manifest = folder.latest / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 2}))
    assert ask.main([str(folder.home), "--song", "n1"]) == 2
    assert "expected schema_version 1. Received: 2." in capsys.readouterr().err
    manifest.write_text("{")
    assert ask.main([str(folder.home), "--song", "n1"]) == 2
    assert "expected JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("[]", "expected one song. Received: 0"),
        ('[{"a": 1}, {"a": 2}]', "expected one song. Received: 2"),
        ("{", "must be a JSON object"),
        ("7", "must be dicts"),
        ("@/nowhere/song.json", "No such file"),
    ],
)
def test_song_json_that_is_not_one_song_is_one_line(home, capsys, given, shown):
    assert ask.main([str(home), "--song-json", given]) == 2
    err = capsys.readouterr().err
    assert shown in err and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--song", "a", "--song-json", "{}"], [], ["--song", "a", "--matches", "0"]])
def test_arguments_that_do_not_fit_are_refused(home, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        ask.main([str(home), *arguments])
    assert ended.value.code == 2
