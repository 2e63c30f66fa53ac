"""The gate on data: what differs from the last pushed run, on statistics that TFDV made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics import stats_impl
from tfx import v1 as tfx

from tfx_pipeline.gates import data_gate
from tfx_pipeline.gates.data_drift import DataGateConfig, DataGateError, Statistics, compare, report
from tfx_pipeline.tfx_extensions.artifacts import DataReport

SONGS = 600


def columns(seed: int = 0) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "song_id": [f"s{seed}-{row}" for row in range(SONGS)],
        "attribute_genre": rng.choice(["rock", "jazz", "folk"], SONGS, p=[0.6, 0.3, 0.1]).tolist(),
        "attribute_tags": [rng.choice(["live", "loud", "old", "new"], 2, replace=False).tolist() for _ in range(SONGS)],
        "audio_tempo": [None if row % 4 == 0 else float(rng.normal(120, 20)) for row in range(SONGS)],
    }


def statistics(values: dict[str, list[Any]]) -> Statistics:
    """What StatisticsGen makes of the rows."""
    rows = {
        name: pa.array([None if v is None else v if isinstance(v, list) else [v] for v in column])
        for name, column in values.items()
    }
    return stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(rows))


def stops(today: dict[str, list[Any]], last: dict[str, list[Any]], **settings: Any) -> dict[str, str]:
    findings = compare(statistics(today), statistics(last), DataGateConfig(**settings))
    return {finding.column: finding.what for finding in findings if finding.stops}


def test_another_day_of_the_same_kind_passes() -> None:
    today, last = columns(seed=1), columns(seed=2)
    assert stops(today, last) == {}
    # What was measured is in the report all the same.
    lines = report({"songs": compare(statistics(today), statistics(last), DataGateConfig())})
    assert "noted: songs, column `attribute_genre`: drift 0.0" in lines


def test_a_field_that_vanishes_stops() -> None:
    today = columns(seed=1)
    del today["audio_tempo"]
    assert list(stops(today, columns())) == ["audio_tempo"]
    nearly = columns(seed=1) | {"audio_tempo": [120.0] + [None] * (SONGS - 1)}
    assert "audio_tempo" in stops(nearly, columns())
    assert "audio_tempo" not in stops(nearly, columns(), min_presence=0.0, max_drift=1.0)


def test_a_new_type_stops() -> None:
    today = columns(seed=1) | {"audio_tempo": ["fast"] * SONGS}
    assert list(stops(today, columns())) == ["audio_tempo"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("attribute_genre", ["folk"] * (SONGS - 50) + ["rock"] * 50),
        ("attribute_tags", [["live", "loud"]] * SONGS),
        ("audio_tempo", [float(value) for value in np.random.default_rng(5).normal(180, 5, SONGS)]),
    ],
)
def test_drift_above_the_bound_stops(column: str, values: list[Any]) -> None:
    today = columns(seed=1) | {column: values}
    assert "Jensen-Shannon" in stops(today, columns())[column]
    assert column not in stops(today, columns(), max_drift=1.0)


def test_ordinary_growth_of_many_words_is_no_drift() -> None:
    """TFDV's histograms end at 1,000 words; two parts of one law looked .4 apart. Another law still does."""
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(5000)]
    law = 1 / np.arange(1, 5001)
    often = [rng.choice(words, 3, replace=False, p=law / law.sum()).tolist() for _ in range(2200)]
    unique = [f"name {row}" for row in range(2200)]
    today, last = ({"attribute_tags": often[:rows], "name": unique[:rows]} for rows in (2200, 2000))
    assert not stops(today, last)
    turned = [[f"w{4999 - int(word[1:])}" for word in row] for row in often]
    assert set(stops({**today, "attribute_tags": turned}, last)) == {"attribute_tags"}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([[0.1] * 8] * SONGS, [[0.1] * 4] * SONGS),
        ([[0.1] * 8] * SONGS, [[0.1]] * SONGS),
        (["rock"] * SONGS, [["rock", "pop"]] * SONGS),
    ],
)
def test_another_number_of_values_stops(before: list[Any], now: list[Any]) -> None:
    assert "values a row" in stops({"audio_x": now}, {"audio_x": before})["audio_x"]


def test_a_new_column_and_new_words_are_noted_alone() -> None:
    today = columns(seed=1) | {"audio_energy": [0.5] * SONGS}
    today["attribute_genre"][:5] = ["polka"] * 5
    assert stops(today, columns()) == {}
    assert "audio_energy" in report({"songs": compare(statistics(today), statistics(columns()), DataGateConfig())})


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"DataGateConfig\.max_drift: expected a number in \[0, 1\]\. Received: 2"):
        DataGateConfig(max_drift=2)


def test_the_components_keep_what_was_pushed_and_refuse_what_differs(tmp_path) -> None:
    def artifact(kind: type, name: str) -> Any:
        made = kind()
        made.uri = str(tmp_path / name)
        (tmp_path / name / "Split-all").mkdir(parents=True)
        return made

    types = tfx.types.standard_artifacts
    songs, plays, broken = (artifact(types.ExampleStatistics, name) for name in ("songs", "plays", "broken"))
    for made, values in ((songs, columns()), (plays, {"plays": [1, 2, 3]}), (broken, {"song_id": ["a"]})):
        made.split_names = '["all"]'
        (tmp_path / made.uri / "Split-all" / "FeatureStats.pb").write_bytes(statistics(values).SerializeToString())
    pushed = artifact(types.PushedModel, "pushed")
    kept = str(tmp_path / "kept")

    def gate(of_songs: Any, name: str) -> str:
        made = artifact(DataReport, name)
        try:
            data_gate.DataGate.EXECUTOR_SPEC.executor_class._FUNCTION(
                song_statistics=of_songs, play_statistics=plays, report_of_data=made, kept=kept, settings="{}", code=""
            )
        finally:
            text = (tmp_path / name / data_gate.REPORT).read_text()
        return text

    def keep(flag: int) -> None:
        pushed.set_int_custom_property("pushed", flag)
        data_gate.StatisticsKeeper.EXECUTOR_SPEC.executor_class._FUNCTION(
            pushed_model=pushed, song_statistics=songs, play_statistics=plays, kept=kept, code=""
        )

    assert gate(broken, "first") == "\n".join(
        f"not compared: {table}, no statistics of a pushed run" for table in ("songs", "plays")
    )
    keep(0)
    assert not (tmp_path / "kept").exists()
    keep(1)
    keep(1)  # once more, over what is there
    assert sorted(path.name for path in tmp_path.glob("kept*")) == ["kept", "kept_report.txt"]
    assert "stops the run" not in gate(songs, "same")
    with pytest.raises(DataGateError, match="column `attribute_genre`"):
        gate(broken, "refused")
    # TFX removes the outputs of a component that fails; this one stays.
    assert "stops the run: songs, column `attribute_genre`" in (tmp_path / "kept_report.txt").read_text()
    # Killed between its two renames, the keeper leaves the earlier statistics under the other name.
    (tmp_path / "kept").rename(tmp_path / "kept.before")
    with pytest.raises(DataGateError, match="column `attribute_genre`"):
        gate(broken, "after a kill")
    keep(1)
    keep(1)
