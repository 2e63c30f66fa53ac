"""Parts of the method: planted differences are found, corrected and reported; sweeps and reports use finished rows."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.quality import closed_form, towers
from benchmarks.quality.__main__ import main
from benchmarks.quality.metrics import METRICS
from benchmarks.quality.parts import ALL_SONGS, PARTS, parts, verdict
from benchmarks.quality.problem import LEAST_LISTENERS, Problem
from benchmarks.quality.provenance import Provenance
from benchmarks.quality.results import correct, results
from benchmarks.quality.rows import ROWS, SWEEP_POINTS, SWEEP_ROWS
from benchmarks.quality.slices import LONG_TAIL
from benchmarks.quality.study import Study, run
from benchmarks.quality.tasks import DAY_ZERO, SIMILAR_20
from benchmarks.targeting_study.datasets import DataSet, drawn, read_data_set
from tfx_pipeline.datasets.simulate import simulate

SEEDS = range(5)
#: What a split has beside its rows.
FILES = {"ceiling", "slices", "songs", "split"}
#: Of each row, recall@50 above that of `BPR only`: all songs, day zero.
PLANTED = {"BPR only": (0.0, 0.0), "BCL, head, hard negatives, margin": (0.0, -0.1), "BCL": (0.0, 0.2)}


def write_row(path: Path, recalls: dict[str, np.ndarray]) -> None:
    """One file as a study keeps it; the other metrics are not looked at."""
    arrays = {f"{task} | {metric}": values for task, values in recalls.items() for metric in METRICS}
    (row,) = (row for row in (*ROWS, *SWEEP_ROWS) if row.name == path.stem)
    np.savez(path, seconds=1.0, **Provenance.of(row, "planted data", None).arrays(), **arrays)


def write_study(out: Path, name: str, rng: np.random.Generator) -> Study:
    for seed in SEEDS:
        folder = out / name / str(seed)
        folder.mkdir(parents=True)
        base = rng.uniform(0.3, 0.5, (2, 80))
        (folder / "split.json").write_text(json.dumps({"warm": 500, "val": 80, "test": 80}))
        np.savez(folder / "slices.npz", **{LONG_TAIL: np.arange(80) < 30})
        songs = 40 * seed + np.arange(80)  # half of them were judged by the split before
        np.savez(folder / "songs.npz", listeners=np.arange(80), songs=songs, asked=songs)
        half = {
            "split half": 0.2,
            "upper": 0.7,
            "one listener": 0.5,
            "slices": {"3 to 4 listeners": {"split half": 0.1}},
        }
        (folder / "ceiling.json").write_text(json.dumps(half))
        for row, gains in PLANTED.items():
            values = base + np.array(gains)[:, None] + rng.normal(0, 0.01, base.shape)
            write_row(folder / f"{row}.npz", {SIMILAR_20: values[0], DAY_ZERO: values[1]})
    return Study(out / name, name, tuple(row for row in ROWS if row.name in PLANTED), tuple(SEEDS))


def corrected(result: dict[str, Any]) -> dict[str, Any]:
    correct([difference for part in result["parts"] for difference in part["slices"].values()])
    return result


@pytest.fixture
def studies(tmp_path: Path) -> list[Study]:
    rng = np.random.default_rng(3)
    return [write_study(tmp_path, name, rng) for name in ("one", "two")]


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of few steps: what is shown here does not depend on how well towers are trained."""
    monkeypatch.setattr(towers, "ROUND", 10)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    folder = tmp_path_factory.mktemp("parts") / "catalogue"
    simulate(folder, songs=300, users=150, plays=6_000, seed=4)
    return read_data_set(folder)


def test_a_part_is_the_paired_difference_of_its_rows(studies: list[Study]) -> None:
    found = {part["name"]: part["slices"] for part in parts(studies[0])}
    served, paper = (found[name] for name in ("contrast on the embeddings served", "contrast behind a head"))
    assert set(served) == {ALL_SONGS, DAY_ZERO, LONG_TAIL}
    having, lacking = (studies[0].values(DAY_ZERO, "recall@50", row) for row in ("BCL", "BPR only"))
    base = np.mean([values.mean() for values in lacking])
    assert served[DAY_ZERO]["value"] == pytest.approx(np.mean([v.mean() for v in having]) / base - 1)
    assert served[DAY_ZERO]["low"] < 0.2 / base < served[DAY_ZERO]["high"]
    for row, difference in (("BCL", served), ("BCL, head, hard negatives, margin", paper)):
        means = np.array([v.mean() for v in studies[0].values(DAY_ZERO, "recall@50", row)])
        differences = means - [v.mean() for v in lacking]
        spread = np.sqrt((1 / 5 + 80 / 500) * differences.var(ddof=1))
        expected = 2 * stats.t(4).cdf(-abs(differences.mean() / spread))
        assert difference[DAY_ZERO]["p"] == pytest.approx(expected)
    tail = [values[:30].mean() for values in studies[0].values(SIMILAR_20, "recall@50", "BCL")]
    base_tail = [values[:30].mean() for values in studies[0].values(SIMILAR_20, "recall@50", "BPR only")]
    assert served[LONG_TAIL]["value"] == pytest.approx(np.mean(tail) / np.mean(base_tail) - 1)


def test_one_correction_is_over_all_rows_slices_and_parts(studies: list[Study]) -> None:
    found = results(studies[0])
    tables = [*found["tasks"].values(), *(table for of_task in found["slices"].values() for table in of_task.values())]
    compared = [row["against"] for table in tables for row in table.values() if "against" in row]
    compared += [difference for part in found["parts"] for difference in part["slices"].values()]
    assert found["reference"] is None and len(compared) == 3 * 3  # three parts in three slices; no row to compare with
    alone = sorted(difference["p alone"] for difference in compared)
    steps = np.maximum.accumulate(np.minimum(1, np.array(alone) * np.arange(len(alone), 0, -1)))
    np.testing.assert_allclose(sorted(difference["p"] for difference in compared), steps)


def test_verdicts_say_where_a_part_helps_and_hurts(studies: list[Study]) -> None:
    results = [corrected({"data": study.name, "parts": parts(study)}) for study in studies]
    served, paper = "contrast on the embeddings served", "contrast behind a head"
    assert verdict(served, results) == f"helps on {DAY_ZERO} (one, two)"
    assert verdict(paper, results) == f"hurts on {DAY_ZERO} (one, two)"
    assert verdict(served, results[:1]).endswith("; in no slice on two data sets, too few to say that it helps")
    assert verdict("random mask", results) == "not measured"
    alone = replace(studies[0], seeds=(0,))
    assert (
        verdict(served, [corrected({"data": "one", "parts": parts(alone)})])
        == "not tested on one, which takes more than one split"
    )
    part = parts(studies[0])[0] | {"slices": {ALL_SONGS: {"value": 0.1, "p": 0.2}}}
    nothing = [{"data": "one", "parts": [part]}]
    assert verdict(paper, nothing) == "no difference shown on one"


def test_a_row_of_other_settings_is_run_again(data: DataSet, tmp_path: Path) -> None:
    row = next(row for row in ROWS if row.name == "ridge to own factors")
    lines: list[str] = []
    for asked in (row, row, replace(row, fit=partial(closed_form.ridge_to_factors, own=False))):
        run(data, [asked], [0], tmp_path, lines.append)
    assert len(lines) == 2  # the second time its results are there


def test_every_part_names_rows_of_the_table() -> None:
    known = {row.name for row in ROWS}
    assert all({part.having, part.lacking} <= known for part in PARTS)


def test_a_report_takes_what_lies_in_the_folder(studies: list[Study], tmp_path: Path) -> None:
    (tmp_path / "two" / "4" / "BCL.npz").unlink()  # a row that one seed lacks is left out
    assert main(["--report", "--data", "one", "two", "--out", str(tmp_path)]) == 0
    one, two = json.loads((tmp_path / "results.json").read_text())
    assert set(one["tasks"][SIMILAR_20]) == set(PLANTED) and set(two["tasks"][SIMILAR_20]) == set(PLANTED) - {"BCL"}
    shown = (tmp_path / "report.html").read_text()
    assert 'alt="what each part adds to recall' in shown
    table = (tmp_path / "table.md").read_text()
    assert f"- contrast behind a head: hurts on {DAY_ZERO} (one, two)." in table
    with pytest.raises(FileNotFoundError, match=r"expected folders of seeds with a split\.json\. Received: none"):
        main(["--report", "--data", "three", "--out", str(tmp_path)])


def test_sweeps_vary_one_setting_of_the_defaults() -> None:
    """A row of the table may have settings that were found for its data set, so sweeps have bases of their own."""
    bpr, bcl = "BPR, default settings", "BCL, default settings"
    assert SWEEP_POINTS["momentum"][0.9] == SWEEP_POINTS["contrast_weight"][0.3] == bcl
    assert SWEEP_POINTS["contrast_weight"][0.0] == SWEEP_POINTS["field_dropout"][0.0] == bpr
    names = {name for points in SWEEP_POINTS.values() for name in points.values()}
    assert {row.name for row in SWEEP_ROWS} == names and not names & {row.name for row in ROWS}
    assert not any(row.search or row.settings_from for row in SWEEP_ROWS)


def test_sweeps_are_reported_for_both_tasks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    study = write_study(tmp_path, "one", rng)
    for seed in SEEDS[:3]:
        for value, name in SWEEP_POINTS["update_every"].items():
            recalls = {task: rng.normal(value / 100, 0.001, 80) for task in (SIMILAR_20, DAY_ZERO)}
            write_row(study.folder / str(seed) / f"{name}.npz", recalls)
    assert main(["--report", "--data", "one", "--out", str(tmp_path)]) == 0
    (result,) = json.loads((tmp_path / "results.json").read_text())
    assert set(result["sweeps"]) == {"update_every"} and result["sweeps"]["update_every"]["seeds"] == [0, 1, 2]
    for recalls in result["sweeps"]["update_every"]["recall"].values():
        assert [found["value"] for found in recalls] == pytest.approx([0.01, 0.1, 1.0], abs=1e-3)
    assert f"| update_every | 100 | {DAY_ZERO} | 1.000 [1.000, 1.000] | 3 |" in (tmp_path / "table.md").read_text()


def test_rows_of_grouping_need_fields_to_group(data: DataSet) -> None:
    few = replace(data, fields=data.fields[:3])
    left_out = {row.name for row in ROWS if row.usable(data) and not row.usable(few)}
    ours = {name for name in left_out if not name.startswith("paper: ")}
    assert ours == {"BPR + RFM", "BPR + CFM", "BCL, static matrix", "BCL, last batch", "BCL, Gumbel off"}
    assert {"paper: random groups", "paper: static matrix"} <= left_out
    assert not {"paper: hidden, contrast behind head", "paper: hidden, BPR alone"} & left_out


def test_drawn_songs_keep_their_plays_and_features(data: DataSet) -> None:
    part = drawn(data, 100, LEAST_LISTENERS)
    assert part.name.endswith("-100") and len(part.songs) == 100 == part.features.num_rows
    assert list(part.songs) == sorted(part.songs) and np.diff(part.plays.indptr).min() >= LEAST_LISTENERS
    place = np.searchsorted(data.songs, part.songs)
    np.testing.assert_array_equal(part.plays.sum(axis=1), data.plays[place].sum(axis=1))
    assert part.features["song_id"].to_pylist() == data.features["song_id"].take(place).to_pylist()
    assert np.diff(part.plays.tocsc().indptr).min() >= 1
    assert len(Problem.of(part, 0).warm) > 60
    whole = drawn(data, 10_000, LEAST_LISTENERS)
    assert len(whole.songs) == (np.diff(data.plays.indptr) >= LEAST_LISTENERS).sum()


@pytest.fixture(scope="module")
def thinned(data: DataSet) -> DataSet:
    """Every third song has one or two listeners."""
    plays = data.plays.tolil()
    for song in range(0, len(data.songs), 3):
        plays.rows[song], plays.data[song] = plays.rows[song][: 1 + song % 2], plays.data[song][: 1 + song % 2]
    return replace(data, plays=plays.tocsr())


def test_sparse_songs_are_drawn_in_the_same_share(thinned: DataSet) -> None:
    counts = np.diff(thinned.plays.indptr)
    few = int(((counts > 0) & (counts < LEAST_LISTENERS)).sum())
    most = int((counts >= LEAST_LISTENERS).sum()) // 2
    part = drawn(thinned, most, LEAST_LISTENERS)
    enough = np.diff(part.plays.indptr) >= LEAST_LISTENERS
    assert enough.sum() == most and abs((~enough).sum() - few / 2) <= 1


def test_sparse_songs_teach_what_their_listeners_play(thinned: DataSet) -> None:
    problem = Problem.of(thinned, 0)
    songs = towers.learnt_songs(problem, sparse=True)
    assert len(problem.sparse_songs) > 60 and (problem.split[problem.sparse_songs] == "new").all()
    anchors, positives, weights = towers.learnt_pairs(problem, 7, sparse=True)
    warm = np.asarray((problem.data.plays[problem.warm] > 0).todense(), float)
    for row, song in enumerate(songs.tolist()):
        heard = np.asarray((problem.data.plays[song] > 0).todense(), float).ravel()
        together, chance = warm @ heard, warm.sum(axis=1) * heard.sum()
        known = (together * warm.shape[1] > chance) & (problem.warm != song)
        cosines = np.where(known, together / np.sqrt(chance), 0.0)
        best = np.sort(cosines)[::-1][:7]
        of_row = anchors == row
        np.testing.assert_allclose(np.sort(weights[of_row])[::-1], best[best > 0], rtol=1e-5)
        np.testing.assert_allclose(cosines[positives[of_row]], weights[of_row], rtol=1e-5)


def test_held_out_songs_teach_nothing(thinned: DataSet) -> None:
    problem = Problem.of(thinned, 0)
    held_out = np.concatenate([problem.cold("val"), problem.cold("test")])
    plays = problem.data.plays.tolil()
    plays[held_out] = problem.data.plays[np.roll(held_out, 1)]
    changed = Problem(replace(problem.data, plays=plays.tocsr()), 0, problem.split, problem.encoding)
    np.testing.assert_array_equal(changed.sparse_songs, problem.sparse_songs)
    for found, wanted in zip(*(towers.learnt_pairs(each, 7, sparse=True) for each in (changed, problem)), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.slow
def test_rows_of_sparse_songs_need_some(data: DataSet, thinned: DataSet, tmp_path: Path) -> None:
    left_out = {row.name for row in ROWS if row.usable(thinned) and not row.usable(data)}
    assert left_out == {row.name for row in ROWS if row.name.endswith(", sparse songs")} and len(left_out) == 5
    names = ("audience ridge, sparse songs", "ridge + BCL, sparse songs", "best")
    study = run(thinned, [row for row in ROWS if row.name in names], [0], tmp_path, lambda _: None, epochs=1)
    assert all(np.isfinite(study.values(SIMILAR_20, "recall@50", name)[0]).any() for name in names)
    shown = study.gallery()
    assert shown is not None and len(shown["correlation"]) == len(data.fields)
    assert {path.name for path in (tmp_path / thinned.name).glob("*.json")} == {"gallery_of_best.json"}


@pytest.mark.slow
def test_a_row_that_fails_stops_the_processes_and_is_named(data: DataSet, tmp_path: Path) -> None:
    rows = [row for row in ROWS if row.name in ("random", "BCL, no operator", "BCL, V2", "softmax")]
    unsplit = replace(data, features=data.features.slice(0, 5))  # most songs have no features
    with pytest.raises(RuntimeError, match=r"seed 0, .*: expected exit code 0 of its process\. Received: 1"):
        run(unsplit, rows, [0], tmp_path, lambda _: None, epochs=1, jobs=2)
    assert not list(tmp_path.rglob("*.npz"))
    mine = replace(rows[0], name="mine")
    with pytest.raises(ValueError, match=r"must hold rows of the table for several processes\. Received: {'mine'}"):
        run(data, [mine], [0], tmp_path, jobs=2)


@pytest.mark.slow
def test_processes_find_what_one_does(data: DataSet, tmp_path: Path) -> None:
    closed = ("kernel ridge", "ridge to own factors")
    names = (*closed, "BCL, no operator")
    rows = [row for row in ROWS if row.name in names]
    lines: list[str] = []
    alone = run(data, rows, [0], tmp_path / "alone", lines.append, epochs=1)
    together = run(data, rows, [0], tmp_path / "together", lines.append, epochs=1, jobs=2)
    assert sorted(line.split(":")[1][:28] for line in lines[:3]) == sorted(
        line.split(":")[1][:28] for line in lines[3:]
    )
    assert together.split(0) == alone.split(0)
    for name in names:
        ((one,), (other,)) = (study.values(SIMILAR_20, "recall@50", name) for study in (alone, together))
        if name in closed:
            np.testing.assert_allclose(one, other, atol=0.051)  # of 20 songs one, where two scores are nearly equal
        else:
            # Sums of other numbers of threads differ in their last bits, and hundreds of steps carry that on.
            assert abs(np.nanmean(one) - np.nanmean(other)) < 0.03
            assert np.corrcoef(one, other)[0, 1] > 0.7
    assert not [
        path for path in (tmp_path / "together" / data.name / "0").iterdir() if path.stem not in FILES | {*names}
    ]
