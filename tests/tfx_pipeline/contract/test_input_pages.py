"""The pages on columns and on stores: their commands run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tfx_pipeline.s3_server import KEY, SECRET, s3_server
from tfx_pipeline.contract import PLAYS, ColumnNames, prepare

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "how-to"
SONGS = [f"song {i}" for i in range(40)]


def commands(page: str, *modules: str) -> list[str]:
    """Returns the lines of a page that run these modules."""
    lines = re.findall(r"^ {4}\.venv/bin/python (-m ([\w.]+).*)$", (PAGES / page).read_text(), re.MULTILINE)
    return [line for line, module in lines if module in modules]


def run(line: str, here: Path, environment: dict[str, str] | None = None) -> str:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = f"{sys.executable} {line}"
    variables = os.environ | {"PYTHONPATH": paths} | (environment or {})
    done = subprocess.run(["sh", "-c", command], cwd=here, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_columns_are_mapped_as_the_page_says(tmp_path: Path) -> None:
    folder = tmp_path / "FOLDER"
    folder.mkdir()
    songs = {"track_id": SONGS, "genre": ["a", "b"] * 20, "bpm": [float(i) for i in range(40)], "track_name": SONGS}
    plays = {"listener": [f"l{i % 9}" for i in range(400)], "track_id": SONGS * 10, "n": [1, 2] * 200}
    times = pa.array([1_793_491_200 + i for i in range(400)], pa.timestamp("s"))
    pq.write_table(pa.table(songs), folder / "songs.parquet")
    pq.write_table(pa.table(plays | {"played_at": times}), folder / "plays.parquet")
    suggest, check = commands("map-columns.md", "tfx_pipeline.contract")
    run(suggest, tmp_path)
    shown = re.search(r"^ {4}(\{\"columns\".*?\}\})$", (PAGES / "map-columns.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    columns = ColumnNames(**json.loads(shown[1])["columns"])
    suggested = ColumnNames.read(tmp_path / "settings.json")
    assert suggested.plays == columns.plays
    assert suggested.songs == {"track_id": "song_id", "genre": "attribute_genre", "bpm": "audio_bpm"}
    (tmp_path / "settings.json").write_text(shown[1])
    assert "40 songs, 9 users, 400 plays" in run(f"{check} --for-refresh", tmp_path)


def test_a_store_is_read_and_written_as_the_page_says(tmp_path: Path) -> None:
    songs = {"song_id": SONGS, "attribute_genre": ["a", "b"] * 20, "audio_bpm": [float(i) for i in range(40)]}
    plays = pa.table({"user_id": [f"l{i % 9}" for i in range(40)], "song_id": SONGS})
    (check,) = commands("read-from-object-stores.md", "tfx_pipeline.contract")
    (upload,) = commands("read-from-object-stores.md", "tfx_pipeline.upload")
    with s3_server(tmp_path) as server:
        environment = {"AWS_ENDPOINT_URL": server.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        server.put("shop/catalogue/songs.parquet", pa.table(songs))
        for day in ("2026-11-01", "2026-11-02"):
            server.put(f"shop/catalogue/plays/date={day}/part-0.parquet", plays)
        printed = run(f"{check.replace('BUCKET', 'shop')} --for-refresh", tmp_path, environment)
        assert "s3://shop/catalogue: 40 songs, 9 users, 80 plays" in printed
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            prepare("s3://shop/catalogue", tmp_path / "prepared", window=1)
        assert pq.read_table(tmp_path / "prepared" / PLAYS).num_rows == 40
        version = tmp_path / "RUN" / "serving" / "7"
        version.mkdir(parents=True)
        (version / "saved_model.pb").write_bytes(b"graph")
        printed = run(upload.replace("BUCKET", "shop"), tmp_path, environment)
        assert printed == "copied: s3://shop/models/bcl/serving/7\n"


@pytest.mark.parametrize("page", ["map-columns.md", "read-from-object-stores.md"])
def test_settings_on_the_pages_are_json(page: str) -> None:
    found = re.findall(r"`(\{\".*?\})`", (PAGES / page).read_text())
    assert all(isinstance(json.loads(text), dict) for text in found)
