"""The demo refuses bad input before any work; what it says of a run is in test_whole_path.py."""

import os
import subprocess
import sys


def test_bad_input_ends_with_one_message_and_writes_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tfx_pipeline.demo", "--data", str(tmp_path / "data"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 2
    assert "songs.parquet" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not out.exists()
