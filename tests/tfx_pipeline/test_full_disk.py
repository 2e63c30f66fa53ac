"""Commands on a full disk: one line, exit code 2, and no file changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.small_disk import SmallDisk
from tfx_pipeline import campaign_report, target
from tfx_pipeline.contract import __main__ as contract_command
from tfx_pipeline.datasets import simulate


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A catalogue, exports of it and plays, on a disk with room."""
    songs = [f"s{number}" for number in range(400)]
    vectors = [[float(number % 7), 1.0, float(number % 3)] for number in range(400)]
    (tmp_path / "in").mkdir()
    pq.write_table(
        pa.table({"song_id": songs, "audio_vector": vectors, "attribute_genre": ["a", "b"] * 200, "title": songs}),
        tmp_path / "in" / "songs.parquet",
    )
    plays = {"user_id": [f"u{n % 40}" for n in range(4000)], "song_id": [songs[n * 7 % 400] for n in range(4000)]}
    pq.write_table(pa.table(plays), tmp_path / "in" / "plays.parquet")
    columns = {"song_id": songs, "split": ["warm"] * 380 + ["new"] * 20}
    pq.write_table(
        pa.table({**columns, "embedding": vectors, "candidate_embedding": vectors}), tmp_path / "catalogue.parquet"
    )
    matches = {"song_id": songs[380:], "match_ids": [songs[:30]] * 20, "match_scores": [[0.5] * 30] * 20}
    pq.write_table(pa.table(matches), tmp_path / "matches.parquet")
    return tmp_path


def _target(data: Path, out: Path) -> list[str]:
    inputs = [f"--{name}={data / f'{name}.parquet'}" for name in ("catalogue", "matches")]
    return [*inputs, f"--plays={data / 'in' / 'plays.parquet'}", f"--output={out}", "--rule=count"]


def _campaign(data: Path, out: Path) -> list[str]:
    if not (data / "targets").exists():
        assert target.main(_target(data, data / "targets")) == 0
    return [f"--targets={data / 'targets'}", f"--plays={data / 'in' / 'plays.parquet'}", f"--out={out}"]


COMMANDS: dict[str, tuple[Callable[[list[str]], int], Callable[[Path, Path], list[str]]]] = {
    "contract": (contract_command.main, lambda data, out: [str(data / "in"), "--for-refresh", f"--out={out}"]),
    "target": (target.main, _target),
    "campaign_report": (campaign_report.main, _campaign),
    "simulate": (simulate.main, lambda _, out: ["--songs=400", "--users=50", "--plays=4000", str(out)]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_left(data: Path, small_disk: SmallDisk, capsys: Any, name: str) -> None:
    main, arguments = COMMANDS[name]
    out = small_disk.folder / "out"
    given = arguments(data, out)
    capsys.readouterr()
    for space in (0, 1 << 12, 3 << 12) if name != "campaign_report" else (0,):
        small_disk.leave(space)
        before = small_disk.files()
        assert main(given) == 2, space
        error = capsys.readouterr().err
        assert "No space left on device" in error and len(error.splitlines()) == 1
        # Parts of targets count only with a marker, and the next run removes them.
        left = {path for path in small_disk.files() - before if "lock" not in path and "_partial-" not in path}
        assert left <= {"out"} and not out.is_file()
    small_disk.leave(4 << 20)
    assert main(given) == 0 and out.exists()


def test_an_earlier_report_stays(data: Path, small_disk: SmallDisk, capsys: Any) -> None:
    given = _campaign(data, small_disk.folder / "report.json")
    assert campaign_report.main(given) == 0
    before = (small_disk.folder / "report.json").read_text()
    small_disk.leave(0)
    assert campaign_report.main(given) == 2 and (small_disk.folder / "report.json").read_text() == before
    assert small_disk.files() == {"report.json"}
