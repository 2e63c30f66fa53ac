"""The demo's words, and its refusal of bad input before any work."""

import os
import re
import subprocess
import sys

import pytest

from serving.server import EmbeddedServer
from tfx_pipeline.demo_report import DemoReport
from tfx_pipeline.run_record import RunRecord


def test_bad_input_ends_with_one_message_and_writes_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tfx_pipeline.demo", "--data", str(tmp_path / "data"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 2
    assert "songs.parquet" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not out.exists()


@pytest.mark.timeout(900)
def test_the_report_names_songs_listeners_and_reasons(small_run):
    report = DemoReport.read(RunRecord.latest(small_run.folder.metadata), small_run.folder)
    with EmbeddedServer(port=0, model_name="bcl", model_base_path=str(small_run.folder.serving)) as server:
        text = "\n".join(report.songs(server.target, num_songs=2, num_matches=10, num_listeners=3))
    assert text.count("Cold song: ") == 2
    assert len(re.findall(r"^ +\d+\. .+ -?\d\.\d{3}$", text, re.MULTILINE)) == 20  # similar songs
    assert len(re.findall(r"^ +\d+\. user .+ -?\d\.\d{3}  \S", text, re.MULTILINE)) == 6  # listeners, with reasons
    for row in ("model", "content cosine", "random"):
        assert re.search(rf"^  {row} +0\.\d{{3}} \[0\.\d{{3}}, 0\.\d{{3}}\]", report.table(), re.MULTILINE)
    for place in ("Model:", "Targets:", "Report:", "Log:"):
        assert place in report.places()
    assert report.served and report.served.is_dir() and report.targets.is_dir() and report.evaluation_file.is_file()
