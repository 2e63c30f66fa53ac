"""Arithmetic and memory readings of the scale benchmark, without the pipeline."""

import os

import pytest

from benchmarks import pipeline_scale

_MODULE = """
import pathlib, sys, time

def ends(stage, line):
    print(line, flush=True)
    while not (pathlib.Path(__file__).parent / stage).exists():
        time.sleep(0.01)

held = bytearray(200 * 2**20)
end = time.process_time() + 1
while time.process_time() < end:
    pass
del held
ends("Large", "  Large                    2.5 s")
print("  Cached              from cache")
ends("Small", "  Small                    0.5 s")
"""


def test_stages_are_read_with_the_memory_held_while_they_ran(tmp_path):
    (tmp_path / "says_stages.py").write_text(_MODULE)
    stages = {}
    for name, stage in pipeline_scale._stages(["says_stages"], {**os.environ, "PYTHONPATH": str(tmp_path)}):
        stages[name] = stage
        (tmp_path / name).touch()  # the next stage begins
    assert {name: stage["seconds"] for name, stage in stages.items()} == {"Large": 2.5, "Small": 0.5}
    assert 200 < stages["Large"]["peak MiB"] < 300
    assert stages["Small"]["peak MiB"] < 100
    assert 0.9 < stages["Large"]["cpu seconds"] < 3 and stages["Small"]["cpu seconds"] < 0.5


def test_a_module_that_fails_is_an_error(tmp_path):
    (tmp_path / "fails.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"`fails` must end with exit code 0\. Received: 3"):
        list(pipeline_scale._stages(["fails"], {**os.environ, "PYTHONPATH": str(tmp_path)}))


def test_growth_is_cpu_seconds_over_what_the_plays_would_explain():
    def run(plays, seconds, peak):
        simulated = {"seconds": 99.0, "cpu seconds": 99.0, "peak MiB": 9999}
        generated = {"seconds": seconds, "cpu seconds": seconds - 2, "peak MiB": peak}
        return {"plays": plays, "stages": {"simulate": simulated, "PlayGen": generated}}

    lines = pipeline_scale.table([run(1_000, 12.0, 700), run(10_000, 82.0, 1_900)]).splitlines()
    assert lines[0] == "| stage | 1,000 plays: s, CPU s, MiB | 10,000 plays: s, CPU s, MiB | over linear |"
    assert "| PlayGen | 12, 10, 700 | 82, 80, 1,900 | 0.80 |" in lines
    assert lines[-1] == "| whole pipeline | 12, 10, 700 | 82, 80, 1,900 | 0.80 |"
